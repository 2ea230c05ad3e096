"""The names a script sees: one dict per device, for all its scripts and those that they run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from parburn.config.files import ConfigFile
from parburn.script.args import ScriptArgs
from parburn.script.commands.methods import Commands, Nest
from parburn.script.commands.text import VERBS, run_with_args
from parburn.script.config import ConfigHandle
from parburn.script.fatal_error import for_scripts
from parburn.script.objects.efuses import Efuses
from parburn.script.objects.esp import Esp
from parburn.script.objects.modules import (
    Espefuse,
    Esptool,
    ScriptCommands,
    builtins_for,
    espsecure_module,
    fields_module,
    modules_for,
    util_module,
)
from parburn.script.session import Session


def make_globals(session: Session, nest: Nest) -> dict[str, Any]:
    """Return the globals of a device's scripts. `nest` runs the scripts of a nested execute_scripts."""
    commands = ScriptCommands(session, nest)
    esp, efuses = Esp(session), Efuses(session)
    espefuse = Espefuse(commands, esp, efuses)
    modules = modules_for({"esptool": Esptool(esp), "espsecure": espsecure_module(), "espefuse": espefuse})
    return {
        "__name__": "__main__",
        "__builtins__": builtins_for(modules),
        "esp": esp,
        "efuses": efuses,
        "espefuse": espefuse,
        "esptool": modules["esptool"],
        "espsecure": modules["espsecure"],
        **{name: modules[name] for name in ("json", "os", "io", "argparse", "traceback")},
        "fields": fields_module(session),
        "util": util_module(),
        **{name: partial(_call, commands, name) for name in VERBS},
    }


@for_scripts
def _call(
    commands: Commands,
    name: str,
    esp: object = None,
    efuses: object = None,
    args: object = None,
    **more: Any,
) -> None:
    """Return a command as dialect 4 has it as a function: `burn_efuse(esp, efuses, args)`."""
    run_with_args(commands, name, args, **more)


def make_args(
    session: Session,
    *,
    index: int | None,
    configfiles: Sequence[ConfigFile] | None,
    scripts: Sequence[ConfigHandle],
) -> ScriptArgs:
    """Return `args` for one script: fresh handles at position 0."""
    options, facts = session.options, session.facts
    return ScriptArgs(
        index,
        configfiles=None if configfiles is None else [ConfigHandle(one) for one in configfiles],
        scripts=list(scripts),
        port=facts.port,
        baud=options.baud,
        chip=facts.chip.name,
        before=options.before,
        debug=options.debug,
        do_not_confirm=options.do_not_confirm,
        show_sensitive_info=options.show_sensitive_info,
        virt=False,
        path_efuse_file=None,
        postpone=True,
        extend_efuse_table=None,
        rehearsal=options.rehearsal,
    )
