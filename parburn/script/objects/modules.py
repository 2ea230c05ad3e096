"""What a script gets for `import esptool`, `espsecure`, `espefuse`, `json` and `os`: its own board's.

They are handed out by the script's own `__import__`; the process's modules stay as they are, so a script
works where esptool is not installed, and where it is, the real one is not touched. What a stand-in does not
have fails with a sentence.
"""

from __future__ import annotations

import argparse
import builtins
import io
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from parburn.errors import BadValue
from parburn.script.board_modules import (
    OwnModule,
    OwnModules,
    OwnOs,
    OwnRandom,
    own_builtins,
    own_importlib,
    refused,
)
from parburn.script.commands.methods import Commands
from parburn.script.commands.text import VERBS, run_command
from parburn.script.config import ScriptJson
from parburn.script.fatal_error import (
    FatalError,
    NotImplementedInROMError,
    NotSupportedError,
    UnsupportedCommandError,
    for_scripts,
)
from parburn.script.inputs import INPUT_WHY
from parburn.script.objects.efuses import Efuses
from parburn.script.objects.esp import Esp
from parburn.script.session import Session

SUPPORTED = [name.replace("_", "-") for name in VERBS]
_READ_COMMANDS = [name.replace("_", "-") for name, verb in VERBS.items() if verb.shows]
_BURN_COMMANDS = [name.replace("_", "-") for name, verb in VERBS.items() if not verb.shows]
ESPTOOL_VERSION = "4.12.0"  # the dialect that a script which asks for it was written for


class StandIn(ModuleType):
    """A module for scripts. `hint` is said when a name is missing."""

    def __init__(self, name: str, names: Mapping[str, Any], hint: str = "") -> None:
        super().__init__(name)
        self.__dict__.update(names)
        self.__dict__["_hint"] = hint or f"parburn stands in for {name} with what burn scripts need"
        self.__dict__["__path__"] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__} has no {name!r} here: {self.__dict__['_hint']}")


class ScriptCommands(Commands):
    """The commands as scripts call them: what they refuse, they raise as esptool.FatalError."""


for _name in VERBS:
    setattr(ScriptCommands, _name, for_scripts(getattr(Commands, _name)))


class Espefuse(StandIn):
    """`espefuse`: called as in dialect 4, with methods as in dialect 5, and a module to import from."""

    def __init__(self, commands: Commands, esp: Esp, efuses: Efuses) -> None:
        super().__init__(
            "espefuse",
            {
                "esp": esp,
                "efuses": efuses,
                "init_commands": lambda *_, **__: self,
                "get_esp": lambda *_, **__: esp,
                "SUPPORTED_COMMANDS": list(SUPPORTED),
                "SUPPORTED_READ_COMMANDS": list(_READ_COMMANDS),
                "SUPPORTED_BURN_COMMANDS": list(_BURN_COMMANDS),
            },
        )
        self.__dict__["_commands"] = commands
        for name in VERBS:
            self.__dict__[name] = getattr(commands, name)

    def __call__(self, *arguments: Any, command: str | None = None) -> None:
        """Run a command of dialect 4: `espefuse(esp, efuses, args, "burn_efuse NAME VALUE")`."""
        text = command if command is not None else arguments[-1] if arguments else ""
        _run_text(self.__dict__["_commands"], text)

    def __enter__(self) -> Espefuse:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: what is staged burns after the last script, or at burn_all()."""

    def use_batch_mode(self) -> None:
        """Do nothing: commands are always staged."""

    def burn_all(self, check_batch_mode: bool = False) -> bool:
        """Burn what is staged; see `Efuses.burn_all`."""
        return self.__dict__["efuses"].burn_all()  # type: ignore[no-any-return]  # out of __dict__


@for_scripts
def _run_text(commands: Commands, text: Any) -> None:
    if not isinstance(text, str):
        raise BadValue('espefuse(esp, efuses, args, "COMMAND ...") takes the command as its last argument')
    run_command(commands, text)


_ERRORS = {
    "FatalError": FatalError,
    "NotSupportedError": NotSupportedError,
    "NotImplementedInROMError": NotImplementedInROMError,
    "UnsupportedCommandError": UnsupportedCommandError,
}
_NO_FLASHING = "flashing, resetting and finding chips are not what a burn script does"


class Esptool(StandIn):
    """`esptool` for one board. Its parts are made when a script asks for them."""

    def __init__(self, esp: Esp) -> None:
        names = {**_ERRORS, "__version__": ESPTOOL_VERSION}
        names["detect_chip"] = names["get_default_connected_device"] = lambda *_, **__: esp
        super().__init__("esptool", names, _NO_FLASHING)

    def __getattr__(self, name: str) -> Any:
        if name == "util":
            part = _esptool_util()
        elif name in ("cmds", "loader", "targets"):
            part = StandIn(f"esptool.{name}", {"detect_chip": self.__dict__["detect_chip"]}, _NO_FLASHING)
        else:
            return super().__getattr__(name)
        self.__dict__[name] = part
        return part


def _hexify(data: bytes, uppercase: bool = True) -> str:
    return bytes(data).hex().upper() if uppercase else bytes(data).hex()


def _plain_name(name: str) -> str:
    return name.lower().replace("-", "")


def _esptool_util() -> StandIn:
    names = {"byte": lambda data, index: data[index], "hexify": _hexify, "strip_chip_name": _plain_name}
    return StandIn("esptool.util", {**_ERRORS, **names})


@for_scripts
def _digest(keyfile: Any) -> bytes:
    from parburn.script.commands.pem import secure_boot_digest  # cryptography: only who needs it waits for it

    return secure_boot_digest(keyfile.read())


def espsecure_module() -> StandIn:
    """Return `espsecure` for one board."""
    hint = "make keys and signatures with espsecure itself, before the run"
    return StandIn("espsecure", {"_digest_sbv2_public_key": _digest}, hint)


@for_scripts
def _refuse_doubles(names: Sequence[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise BadValue(f"{', '.join(doubled)}: named twice")


def util_module() -> StandIn:
    """Return the `util` of dialect 4, for one board."""
    names: dict[str, Callable[..., Any]] = {
        "hexify": lambda data, separator="": separator.join(f"{byte:02x}" for byte in data),
        "popcnt": lambda number: int(number).bit_count(),
        "check_duplicate_name_in_list": _refuse_doubles,
    }
    return StandIn("util", names)


def fields_module(session: Session) -> StandIn:
    """Return the `fields` name of dialect 4: the key purposes of the chip."""
    purposes = session.chip.key_purposes
    names = {
        "KEY_PURPOSES_NAME": [purpose.name for purpose in purposes],
        "DIGEST_KEY_PURPOSES": [purpose.name for purpose in purposes if purpose.digest],
    }
    return StandIn("fields", {"EfuseKeyPurposeField": StandIn("EfuseKeyPurposeField", names)})


# Import and the built-in names ------------------------------------------------------------------------


def modules_for(stand_ins: Mapping[str, ModuleType]) -> OwnModules:
    """Return what `import` finds for one board before it looks where Python does."""
    return OwnModules(stand_ins, _OWN)


_OWN: Mapping[str, Callable[[], ModuleType]] = {
    "json": ScriptJson,
    "os": OwnOs,
    "random": OwnRandom,
    "io": lambda: OwnModule(io),
    "argparse": lambda: OwnModule(argparse),
    "traceback": lambda: OwnModule(traceback),
}


def _exit(code: object = None) -> None:
    raise SystemExit(code)


def builtins_for(modules: Mapping[str, ModuleType]) -> ModuleType:
    """Return the built-in names of a script.

    `import` finds the board's own modules, `input` is refused, `exit` raises.
    """
    plain_import = builtins.__import__
    own = own_builtins()
    names = vars(own)
    of_import = {"builtins": own}  # modules that need to know how this script imports

    def script_import(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        head, _, rest = name.partition(".")
        module = None
        if level == 0:
            module = of_import.get(head) or modules.get(head)
            if head == "importlib" and module is None:
                module = of_import[head] = own_importlib(script_import)
        if module is None:
            return plain_import(name, globals, locals, fromlist or (), level)
        if rest and head not in STAND_INS:
            plain_import(name, globals, locals, (), level)  # json.decoder: loaded, and found in our own
        if not fromlist:
            return module
        found: Any = module
        for step in rest.split(".") if rest else ():
            found = getattr(found, step)
        return found

    names["__import__"] = script_import
    names["input"] = refused("input()", INPUT_WHY)
    names["exit"] = names["quit"] = _exit
    return own


STAND_INS = frozenset({"esptool", "espsecure", "espefuse"})
