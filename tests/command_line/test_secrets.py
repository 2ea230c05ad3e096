"""No byte of a key in what parburn says or keeps: output, log, JSON, trace, report, ledger, exception.

Keys are made of bytes that stand nowhere else, and are looked for raw, in hex and in base64, in both byte
orders. What is left out: the standard output of a `summary` or `dump` of keys that stay readable, which show
them as the originals do, and the simulated boards' own files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from parburn.script.commands.text import VERBS
from tests.command import Outcome, finish, start
from tests.provisioning import key_of, said, script
from tests.rig import start_rig


def orders_of(secret: bytes) -> list[bytes]:
    """A key as it lies in memory, turned round, and turned round by words."""
    swapped = b"".join(secret[n : n + 4][::-1] for n in range(0, len(secret), 4))
    return [secret, secret[::-1], swapped, swapped[::-1]]


def traces_of(secret: bytes) -> list[bytes]:
    """All forms in which a key could stand in a text or a file: raw, hex, decimal, base64 at any place."""
    forms = orders_of(secret)
    words = [secret[n : n + 4] for n in range(0, len(secret), 4)]
    found = [form[at : at + 8] for form in forms for at in range(0, len(form) - 7, 4)]
    texts = (
        [part.hex() for part in found] + [part.hex(" ") for part in found] + [part.hex(":") for part in found]
    )
    texts += [" ".join(f"0x{byte:02x}" for byte in part) for part in found]
    texts += [", ".join(map(str, part)) for part in found]
    texts += [repr(part)[2:-1] for part in found]
    texts += [str(int.from_bytes(word, "little")) for word in words if word[3:] > b"\x10"]
    texts += [str(int.from_bytes(form, "big")) for form in forms]
    texts += [text.upper() for text in texts]
    for form in forms:
        for lead in range(3):  # base64 looks different at each of three places
            text = base64.b64encode(bytes(lead) + form).decode()[4:24]
            texts += [text, text.replace("+", "-").replace("/", "_")]
    return [*found, *(text.encode() for text in texts)]


def words_of(secret: bytes) -> set[bytes]:
    """The hex forms of its words, each way round. They are short: they count only where they stand alone, as
    they would in a list of registers; digests are full of any eight digits."""
    words = [secret[n : n + 4] for n in range(0, len(secret) - 3, 4)]
    return {form.hex().encode() for word in words for form in (word, word[::-1])}


ALONE = re.compile(rb"(?<![0-9a-f])[0-9a-f]{8}(?![0-9a-f])")


def marked(number: int, size: int = 32) -> bytes:
    """A key whose every byte is its own."""
    return bytes(byte or 0x5A for byte in hashlib.sha512(b"secret %d" % number).digest()[:size])


def expect_nowhere(secrets: Mapping[str, bytes], places: Mapping[str, bytes]) -> None:
    """Fail when one of these keys stands in one of these places, in any form."""
    for name, secret in secrets.items():
        forms = traces_of(secret)
        for place, content in places.items():
            shown = [form for form in forms if form in content]
            shown += words_of(secret).intersection(ALONE.findall(content.lower()))
            assert not shown, f"{name} shows in {place} as {shown[0]!r}"


def test_the_search_sees_each_form() -> None:
    secret = marked(9)
    for order in orders_of(secret):
        for form in (order, order.hex().encode(), order.hex(" ").encode(), base64.b64encode(b"ab" + order)):
            with pytest.raises(AssertionError, match="key shows in here"):
                expect_nowhere({"key": secret}, {"here": b"some words " + form + b" and more"})
        for text in (f"0x{order[4:8].hex()}", f"at 3f4: {order[4:8].hex().upper()},"):
            with pytest.raises(AssertionError, match="key shows in here"):
                expect_nowhere({"key": secret}, {"here": text.encode()})
    digest = secret[4:8].hex().encode() + b"0" * 56
    expect_nowhere({"key": secret}, {"here": bytes(range(256)) + digest})


class Places:
    """Runs the command, and keeps by name all that it said and wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.found: dict[str, bytes] = {}

    def run(self, name: str, *words: object, files: bool = True) -> Outcome:
        """Run it, with report and trace unless `files` is off."""
        report, trace = (
            self.folder / f"{name}.{'csv' if len(self.found) % 8 else 'jsonl'}",
            self.folder / f"{name}.txt",
        )
        more = ("--report", report, "--trace", trace) if files else ()
        process = start(*words, *more, state=self.state)
        if "--json" in words:
            outcome = finish(process)
        else:
            stdout, stderr = process.communicate(timeout=120)
            outcome = Outcome(process.returncode, stdout, stderr)
        self.found[f"stdout {name}"] = outcome.stdout.encode()
        self.found[f"stderr {name}"] = outcome.stderr.encode()
        for path in (report, trace):
            if path.exists():
                self.found[f"{path.name} {name}"] = path.read_bytes()
        return outcome

    def look_at_ledger(self) -> None:
        """Take in the ledger's files as they lie there, and what its commands print of them."""
        ledgers = [path for path in self.state.rglob("*") if path.is_file()]
        assert any(path.name.startswith("ledger") for path in ledgers)
        for path in ledgers:
            self.found[str(path)] = path.read_bytes()
        for words in ("show", "export --format json", "export --format csv", "verify"):
            done = self.run(words, "ledger", *words.split(), files=False)
            assert done.exit == 0, said(done)


SECRETS = """\
import base64
keys = {folder!r}
c3 = esp.CHIP_NAME != 'ESP32'
if c3:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 %s/k0 XTS_AES_128_KEY' % keys)
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY1 %s/k1 HMAC_UP' % keys)
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY2 %s/k2 USER --no-read-protect' % keys)
    espefuse(esp, efuses, args, 'burn_block_data BLOCK_KEY3 %s/k3' % keys)
else:
    espefuse(esp, efuses, args, 'burn_key flash_encryption %s/k0' % keys)
    espefuse(esp, efuses, args, 'burn_key secure_boot_v1 %s/k1 --no-protect-key' % keys)
efuses.burn_all()
espefuse(esp, efuses, args, 'summary')
espefuse(esp, efuses, args, 'dump')
espefuse(esp, efuses, args, 'check_error')
espefuse(esp, efuses, args, 'get_custom_mac')
espefuse(esp, efuses, args, 'adc_info')
print([efuses[name].get_meaning() and 1 for name in ('MAC',)])
if {fail}:
    espefuse(esp, efuses, args, 'burn_key %s %s/k3 %s' % (
        ('BLOCK_KEY0' if c3 else 'flash_encryption'), keys, 'USER' if c3 else ''))
"""


def test_no_key_byte_shows_anywhere(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    secrets = {f"k{number}": marked(number) for number in range(4)}
    for name, secret in secrets.items():
        (keys / name).write_bytes(secret)
    places = Places(tmp_path)
    with start_rig("esp32c3:1,esp32:1", tmp_path=tmp_path, baud_limit=460800) as rig:
        for fail in (True, False):
            path = script(tmp_path, "secrets", SECRETS.replace("{folder!r}", repr(str(keys))).replace(
                "{fail}", str(fail)))  # fmt: skip
            for how in ("--json", "--debug"):
                outcome = places.run(
                    f"{fail}{how}", "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", how,
                    "--show-output",
                )  # fmt: skip
                if how == "--json":
                    wanted = {"incomplete"} if fail else {"pass", "already-pass"}
                    assert set(outcome.words) <= wanted, said(outcome)
                assert rig.bits(0, 4)
                assert rig.bits(1, 1)
        assert key_of(rig, 0, 4) == secrets["k0"][::-1]
        assert key_of(rig, 0, 5) == secrets["k1"]
        assert key_of(rig, 1, 1) == secrets["k0"][::-1]
    places.look_at_ledger()
    expect_nowhere({name: secrets[name] for name in ("k0", "k1")}, places.found)
    # Burned so that they stay readable: a summary shows them, as the original does, and nothing else does.
    quiet = {place: said for place, said in places.found.items() if not place.startswith("stdout")}
    expect_nowhere({name: secrets[name] for name in ("k2", "k3")}, quiet)


COMMANDS: tuple[tuple[str, str], ...] = (  # name of the command, the whole of it
    ("burn_key", "burn_key BLOCK_KEY0 k0 HMAC_UP"),
    ("burn_key", "burn_key BLOCK_KEY0 k1 HMAC_UP"),  # another key where one is
    ("burn_key", "burn_key BLOCK_KEY1 short HMAC_UP"),
    ("burn_key", "burn_key BLOCK_KEY1 k2 NO_SUCH_PURPOSE"),
    ("burn_key", "burn_key BLOCK_KEY1 ec256.pem ECDSA_KEY --no-write-protect"),
    ("burn_key", "burn_key BLOCK_KEY1 {hex} HMAC_UP"),
    ("burn_key", "burn_key BLOCK_KEY1 k2 {hex}"),
    ("burn_key", "burn_key {hex} k2 HMAC_UP"),
    ("burn_efuse", "burn_efuse {hex} 1"),
    ("burn_efuse", "burn_efuse --{hex} SECURE_VERSION 1"),
    ("burn_efuse", "burn_efuse SECURE_VERSION 1; {hex}"),
    ("burn_key", "burn_key BLOCK_KEY5 k2 XTS_AES_128_KEY"),  # which the hardware does not use from there
    ("burn_key_digest", "burn_key_digest BLOCK_KEY2 rsa3072.pem SECURE_BOOT_DIGEST0"),
    ("burn_key_digest", "burn_key_digest BLOCK_KEY3 k3 SECURE_BOOT_DIGEST1"),
    ("burn_block_data", "burn_block_data --offset 4 BLOCK_KEY3 k3"),
    ("burn_block_data", "burn_block_data BLOCK_KEY3 k3; read_protect_efuse BLOCK_KEY3 --force-write-always"),
    ("burn_bit", "burn_bit BLOCK_KEY4 {bits}; write_protect_efuse BLOCK_KEY4"),
    ("burn_efuse", "burn_efuse BLOCK_KEY5 {hex}"),
    ("burn_efuse", "burn_efuse BLOCK_KEY5 {hex}ab"),
    ("burn_efuse", "burn_efuse SECURE_VERSION 0x{hex}"),
    ("burn_efuse", "burn_efuse KEY_PURPOSE_5 {hex}"),
    ("burn_custom_mac", "burn_custom_mac 02:00:00:00:00:01"),
    ("burn_custom_mac", "burn_custom_mac {hex}"),
    ("read_protect_efuse", "read_protect_efuse {hex}"),
    ("write_protect_efuse", "write_protect_efuse KEY_PURPOSE_2"),
    ("set_flash_voltage", "set_flash_voltage 3.3V"),
    ("summary", "summary"),
    ("summary", "summary --format json"),
    ("dump", "dump"),
    ("adc_info", "adc_info"),
    ("get_custom_mac", "get_custom_mac"),
    ("check_error", "check_error --recovery"),
    ("execute_scripts", "execute_scripts nested.py"),
)


def write_pems(folder: Path) -> dict[str, bytes]:
    """Make an EC and an RSA key in PEM files, and give what must stay secret of them."""
    secret = marked(20)
    of_ec = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    of_rsa = rsa.generate_private_key(65537, 3072)
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "ec256.pem").write_bytes(of_ec.private_bytes(*form))
    (folder / "rsa3072.pem").write_bytes(of_rsa.private_bytes(*form))
    numbers = of_rsa.private_numbers()
    parts = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
    sized = {name: value.to_bytes(-(-value.bit_length() // 8), "big") for name, value in parts.items()}
    return {"the EC key": secret, **{f"{name} of the RSA key": value for name, value in sized.items()}}


def test_every_command_has_its_turn() -> None:
    assert {name for name, _ in COMMANDS} == set(VERBS)


@pytest.mark.long
def test_no_command_shows_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = {f"k{number}": marked(number) for number in range(6)}
    for name, secret in secrets.items():
        Path(name).write_bytes(secret)
    Path("short").write_bytes(secrets["k2"][:31])
    in_pems = write_pems(tmp_path)
    bits = int.from_bytes(secrets["k4"], "little")
    words = {
        "bits": " ".join(str(bit) for bit in range(256) if bits >> bit & 1),
        "hex": secrets["k5"].hex(),
    }
    Path("nested.py").write_text("espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 k0 HMAC_UP')\n")
    places, results = Places(tmp_path), []
    with start_rig("esp32h2", 1, tmp_path) as rig:
        for number, (_, text) in enumerate(COMMANDS):
            for how in (("--dry-run", "--debug"), ("--json", "--show-output")):
                done = places.run(
                    f"{number}{how[0]}", "--ports", *rig.ports, "--do-not-confirm", *how,
                    "--commands", text.format(**words),
                )  # fmt: skip
                assert "error inside" not in done.stdout + done.stderr, said(done)
                results += done.words
        places.run("token", "--ports", *rig.ports, "--token")
        places.run("probe", "ports", "--probe", *rig.ports, files=False)
        assert results.count("pass") + results.count("already-pass") >= 12, results
        assert key_of(rig, 0, 4) == secrets["k0"]
        assert key_of(rig, 0, 5) == in_pems["the EC key"][::-1]
        assert key_of(rig, 0, 8) == secrets["k4"]
    places.look_at_ledger()
    hidden = ("k0", "k1", "k2")
    expect_nowhere(in_pems | {name: secrets[name] for name in hidden}, places.found)
    showing = tuple(f"stdout {n}--" for n, (name, _) in enumerate(COMMANDS) if name in ("summary", "dump"))
    showing += ("stdout token",)
    quiet = {place: text for place, text in places.found.items() if not place.startswith(showing)}
    expect_nowhere(secrets, quiet)


TROUBLE = (
    "",
    "bit 9 of BLOCK_KEY0 refuses to burn",
    "bit 9 of BLOCK_KEY0 burns its neighbour too",
    "9 bytes of BLOCK_KEY0 burn wrong",
    "one byte in 700 from the host is flipped",
    "one byte in 900 to the host is flipped",
    "the supply browns out in program 1 leaving 40 percent of the bits",
    "the board is swapped for a new one after 2700 bytes",
    "the port vanishes after 3000 bytes",
    "the controller never becomes idle after program 1",
)
RAISING = """
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 %s HMAC_UP' % entry['file'])
efuses.burn_all()
raise ValueError('the key was ' + entry['key'])
"""


def test_what_goes_wrong_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = {f"key {number}": marked(number) for number in range(1, 31)}
    entries = {}
    for number in range(1, 31):
        Path(f"{number}.bin").write_bytes(secrets[f"key {number}"])
        entries[str(number)] = {"file": f"{number}.bin", "key": secrets[f"key {number}"].hex()}
    Path("keys.json").write_text(json.dumps(entries))
    raising = script(tmp_path, "raising", RAISING)
    ending = script(tmp_path, "ending", RAISING.rpartition("raise")[0])
    places = Places(tmp_path)
    faults = [f"on board {number}: {fault}" for number, fault in enumerate(TROUBLE) if fault]
    with start_rig("esp32c3", len(TROUBLE), tmp_path, faults=faults) as rig:
        for name, path in (("raising", raising), ("ending", ending), ("again", ending)):
            for how in (("--json",), ("--debug", "--show-output")):
                done = places.run(
                    f"{name}{how[0]}", "--ports", *rig.ports, "--do-not-confirm", *how, "--scripts", path,
                    "--configfiles", "keys.json", "--connect-attempts", 2,
                )  # fmt: skip
                assert "error inside" not in done.stdout + done.stderr, said(done)
                if how[0] == "--json" and name == "raising":
                    assert {"incomplete", "quarantined"} <= set(done.words), said(done)
        mac = rig.mac(1)
        done = places.run("release", "ledger", "release", mac, "--why", "try again", files=False)
        assert done.exit == 0, said(done)
    places.look_at_ledger()
    # A script's own words go to who ran it; the records learn where it failed, and not what it said.
    own_words = ("stdout raising", "stderr raising")
    expect_nowhere(
        secrets, {place: text for place, text in places.found.items() if not place.startswith(own_words)}
    )


def test_the_digest_of_a_public_key_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = write_pems(tmp_path)
    look = script(
        tmp_path,
        "look",
        "espefuse(esp, efuses, args, 'burn_key_digest BLOCK_KEY2 rsa3072.pem SECURE_BOOT_DIGEST0')\n"
        "print('staged')\n"
        "efuses.burn_all()\n"
        "print('digest', efuses['BLOCK_KEY2'].get_meaning())\n"
        "print(open('rsa3072.pem').read())\n",
    )
    places = Places(tmp_path)
    with start_rig("esp32s3", 1, tmp_path) as rig:
        done = places.run(
            "look", "--ports", *rig.ports, "--scripts", look, "--do-not-confirm", "--show-output"
        )
        assert done.exit == 0, said(done)
        assert f"digest {key_of(rig, 0, 6).hex(' ')}" in done.stdout
    places.look_at_ledger()
    expect_nowhere({name: secret for name, secret in secrets.items() if "RSA" in name}, places.found)


PIECES = "".join(f"PIECE{n}, EFUSE_BLK4, {32 * n}, 32\n" for n in range(8)) + "PIN, EFUSE_BLK10, 0, 128\n"
HIDDEN = {
    "in a table's pieces": "burn_key BLOCK_KEY0 k1 USER",
    "hidden by the same burn": "burn_efuse PIN 0x{pin}; read_protect_efuse BLOCK_SYS_DATA2",
}


@pytest.mark.parametrize("commands", HIDDEN.values(), ids=HIDDEN)
def test_no_name_of_a_table_shows_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: str
) -> None:
    monkeypatch.chdir(tmp_path)
    key, pin = marked(31), marked(32, 16)
    Path("k1").write_bytes(key)
    Path("pieces.csv").write_text(PIECES)
    text = commands.format(pin=pin[::-1].hex())
    places = Places(tmp_path)
    with start_rig("esp32c3", 1, tmp_path) as rig:
        for how in ("--json", "--dry-run", "--debug"):
            places.run(
                how, "--ports", *rig.ports, "--do-not-confirm", how, "--report", f"report{how}.csv",
                "--extend-efuse-table", "pieces.csv", "--commands", text,
            )  # fmt: skip
    places.look_at_ledger()
    records = {
        place: content for place, content in places.found.items() if "report" in place or "ledger" in place
    }
    expect_nowhere({"the pin": pin}, records)  # what was typed stands on the screen
    words = {word for secret in (key, pin) for word in traces_of_words(secret)}
    for place, content in places.found.items():
        shown = sorted(word for word in words if word in content)
        assert not shown or place.startswith("trace"), f"{shown[0]!r} of a secret shows in {place}"


def traces_of_words(secret: bytes) -> set[bytes]:
    """The numbers that its words are, as people write them."""
    words = [int.from_bytes(secret[n : n + 4], "little") for n in range(0, len(secret), 4)]
    numbers = [*words, int.from_bytes(secret, "little")]
    return {form.encode() for number in numbers for form in (str(number), f"{number:x}", f"{number:X}")}
