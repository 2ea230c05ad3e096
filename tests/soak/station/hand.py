"""The hand of the soak: what an operator, an engineer and bad luck do to a station, drawn from one seed.

It sees what they see: the station's JSON lines, and the boards that it holds. It does not wait for the
station where an operator would not: a board may be taken out, swapped or put elsewhere at any moment.
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from parburn.errors import NoStation, NotDone, UsageError
from parburn.sim.control_client import ControlledRig
from parburn.station.command_client import send_resume, send_unlock
from tests.soak.campaign import KINDS
from tests.soak.station.checker import Board, Checker, dumped
from tests.soak.station.job import CHIP, OTHER_CHIPS, Job
from tests.soak.station.process import DRAIN_S, StationProcess, bad_lines
from tests.soak.station.samples import Sample, sample

NO_VERDICT_S = 45.0  # whatever is the matter, a board that sits has a word by then
STALE_S = 8.0  # by then a socket shows nothing any more of the board that was in it before
SAMPLE_EVERY_S = 1.0
WITNESS_EVERY_S = 2.0
GONE_S = 20.0  # by then a board that sits is seen, unless a fault has taken its port away
LOOK_S = 0.02
FINISH_AT_MOST, FINISH_TRIES = 100, 3  # begun units that must come to their PASS at the end
NOT_DRAWN = ("swap", "crystal")  # they need another bench
FAULTS = tuple(kind for kind in KINDS if kind not in NOT_DRAWN)
BEGUN = "put it back"


@dataclass(frozen=True)
class Theme:
    """How often what happens. Shares are of the insertions, but for kills: one in so many insertions."""

    kinds: tuple[tuple[str, float], ...] = (
        ("new", 75), ("shelf", 14), ("passed", 3), ("wrong", 2), ("dead", 1), ("faulty", 0.8), ("clone", 1.5),
        ("twin", 1), ("odd", 0.3),
    )  # fmt: skip
    early: float = 0.16  # boards that are taken out, swapped or moved before their verdict
    after: tuple[tuple[str, float], ...] = (("remove", 85), ("swap", 9), ("replug", 3), ("move", 3))
    kill_every: int = 120
    stop_every: int = 700
    faults: tuple[str, ...] = FAULTS
    job_after: str = ""
    flat_share: float = 0.5  # of the insertions, at the end: one life of the station
    violent_only: bool = False


@dataclass
class Place:
    """A socket, as the hand knows it."""

    number: int
    slot: str
    board: str = ""
    since: float = 0.0
    due: float = 0.0
    early: str = ""  # what is done before the verdict
    decided: bool = False  # what is done after it stands, and `due` is when
    picture: dict[str, Any] = field(default_factory=dict)
    seen: float = 0.0
    asked: float = 0.0  # an engineer, last
    left: str = ""  # the board that was taken out last

    @property
    def state(self) -> str:
        """What the station shows."""
        return str(self.picture.get("state", ""))

    @property
    def waits_for_board(self) -> bool:
        """Whether a board that left in mid burn is to be put back."""
        return BEGUN in str(self.picture.get("detail"))


@dataclass
class Played:
    """What came of it."""

    insertions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    found_after: int | None = None  # insertions, until the first violation
    samples: list[Sample] = field(default_factory=list)
    halts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Hand:
    """One day at a rig."""

    def __init__(
        self,
        rig: ControlledRig,
        job: Job,
        checker: Checker,
        *,
        theme: Theme,
        rng: random.Random,
        off: str,
        tell: Callable[[str], object],
        stop_at_first: bool,
        seats: str = "plug",
    ) -> None:
        self.rig, self.job, self.checker, self.theme = rig, job, checker, theme
        self.rng, self.off, self.tell = rng, off, tell
        self.stop_at_first = stop_at_first
        self.is_plug = seats == "plug"  # where the tty stays, nobody is faster than the looks
        self.hears_removal = seats in ("plug", "cts")  # else it may need an engineer's word
        self.played = Played()
        self.places = [Place(number, f"A{number + 1}") for number in range(len(rig.ports))]
        self._by_slot = {place.slot: place for place in self.places}
        self.shelf: list[str] = []  # boards that may be put in again
        self.passed: list[str] = []
        self.station: StationProcess | None = None
        self._closes_of_kills = 0
        self._next_kill = self._next_stop = 0
        self._may_die, self._finishing = True, False
        self._halted_at: float | None = None
        self._sampled_at = self._witnessed_at = 0.0
        self._odd = 0
        self._log = (job.folder / "log.txt").open("w")
        self.kinds = [kind for kind, _ in theme.kinds]
        self.weights = [weight for _, weight in theme.kinds]

    # The day --------------------------------------------------------------------------------------------

    def play(self, insertions: int) -> Played:
        """Put in so many boards; then let what is under way come to its end."""
        began, played = time.monotonic(), self.played
        self._draw_ends()
        self._start()
        told = began
        for place in self.places:
            place.due = began + self.rng.uniform(0.5, 1.5)
        try:
            while played.insertions < insertions and not self._is_enough():
                self._may_die = played.insertions < insertions * (1 - self.theme.flat_share)
                self._turn(put_in=True)
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    rate = played.insertions / (told - began)
                    self.tell(f"{played.insertions} insertions, {rate:.1f} a second, {dict(played.counts)}")
            until = time.monotonic() + NO_VERDICT_S
            while any(p.board for p in self.places) and time.monotonic() < until and not self._is_enough():
                self._turn(put_in=False)
            if not self._is_enough():
                self._finish_begun()
                self._stop()
            self._witness()
            self._note(bad_lines(self.job.folder / "errors.txt"))
        finally:
            if self.station is not None:
                self.station.close()
        played.seconds = time.monotonic() - began
        return played

    def _logged(self, text: str) -> None:
        self._log.write(f"{time.monotonic():.3f} {text}\n")

    def _finish_begun(self) -> None:
        """Put in all boards that were begun and nothing is wrong with: each must come to its PASS."""
        self._finishing = True
        self.theme = replace(self.theme, early=0.0, after=(("remove", 1),))
        begun: list[Board] = []
        for _ in range(FINISH_TRIES):
            begun = self._begun()[:FINISH_AT_MOST]
            waiting = [*begun]
            until = time.monotonic() + 2 * NO_VERDICT_S
            while (waiting or any(p.board for p in self.places)) and time.monotonic() < until:
                now = time.monotonic()
                for place in self.places:
                    if waiting and not place.board and now >= place.due:
                        if place.state == "locked" or place.waits_for_board:
                            self._unlock(place)
                            place.due = now + 0.3
                        else:
                            self.rig.insert(place.number, waiting[-1].name)
                            self._sits(place, waiting.pop().name, now)
                self._turn(put_in=False)
            left = self._begun()[:FINISH_AT_MOST]
            self.played.counts["begun units finished"] += sum(one not in left for one in begun)
            if not left:
                return
            begun = left
        self._note([f"{one} was begun and does not come to its PASS" for one in begun])

    def _begun(self) -> list[Board]:
        found = []
        for key in self.checker.ledger.begun():
            boards = self.checker.by_mac.get(key, [])
            if len(boards) == 1 and not (boards[0].faults or boards[0].dead or boards[0].clone):
                found.append(boards[0])
        return found

    def _is_enough(self) -> bool:
        return self.stop_at_first and bool(self.played.violations)

    def _note(self, found: list[str]) -> None:
        played = self.played
        for one in self.checker.once(found):
            if played.found_after is None:
                played.found_after = played.insertions
            played.violations.append(one)
            self._logged(f"VIOLATION {one}")
            self.tell(f"VIOLATION after {played.insertions}: {one}")

    def _draw_ends(self) -> None:
        at, theme, rng = self.played.insertions, self.theme, self.rng
        self._next_kill = at + rng.randint(1, 2 * theme.kill_every) if theme.kill_every else 1 << 60
        self._next_stop = at + rng.randint(1, 2 * theme.stop_every) if theme.stop_every else 1 << 60

    def _turn(self, *, put_in: bool) -> None:
        self._station_turn()
        self._read()
        now = time.monotonic()
        for place in self.places:
            if place.board:
                self._full(place, now)
            elif put_in and now >= place.due:
                self._empty(place, now)
        self._note(list(self.checker.two_at_work(now)))
        if now - self._witnessed_at > WITNESS_EVERY_S:
            self._witnessed_at = now
            self._witness()
            self._note(list(self.checker.ledger.went_on()))
        if self._halted_at is not None and now >= self._halted_at:
            self._resume()

    # The station ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.station = StationProcess(self.job, off=self.off)
        self.played.samples.clear()  # they are of one life
        self.checker.station_began()
        for place in self.places:
            place.picture = {}
            place.seen = time.monotonic()

    def _station_turn(self) -> None:
        """Let it die, or end, where that is due; start it anew where it has ended."""
        station, played = self.station, self.played
        assert station is not None
        if self._may_die and played.insertions >= self._next_kill:
            time.sleep(self.rng.uniform(0, 0.05))
            before = self.rig.witness().closes_during_burns
            station.kill()
            self._logged("killed")
            time.sleep(0.05)
            self._closes_of_kills += self.rig.witness().closes_during_burns - before
            played.counts["kills"] += 1
            self._again()
        elif self._may_die and played.insertions >= self._next_stop:
            self._stop()
            self._again()
        elif (code := station.ended()) is not None:
            self._read()
            self._note([f"the station ended by itself, exit {code}: {self._last_error()}"])
            self._again()

    def _again(self) -> None:
        assert self.station is not None
        self.station.close()
        self._draw_ends()
        self._start()

    def _last_error(self) -> str:
        text = (self.job.folder / "errors.txt").read_text(errors="replace").strip()
        return text[-600:]

    def _stop(self) -> None:
        """Ctrl-C, perhaps twice; boards come and go all the same."""
        station, counts = self.station, self.played.counts
        assert station is not None
        station.ask_to_stop()
        self._logged("asked to stop")
        counts["stops"] += 1
        served, twice = station.serves, self.rng.random() < 0.3
        until = time.monotonic() + DRAIN_S
        while station.ended() is None and time.monotonic() < until:
            self._read()
            if twice and time.monotonic() > until - DRAIN_S + 0.3:
                station.ask_to_stop()
                twice = False
            for place in self.places:
                if place.board and place.early and time.monotonic() >= place.due:
                    self._full(place, time.monotonic())
        self._read()
        if station.ended() is None:
            self._note([f"the station did not end within {DRAIN_S:g} s of Ctrl-C"])
        elif station.ended() == 130 and not served:
            counts["stopped before it began"] += 1
        elif station.ended():
            self._note([f"the station ended with exit {station.ended()} after Ctrl-C: {self._last_error()}"])

    def _read(self) -> None:
        station = self.station
        assert station is not None
        now = time.monotonic()
        if station.ended() is None:
            select.select([station.fileno()], [], [], LOOK_S)
        for event in station.events():
            self._event(event, time.monotonic())
        if now - self._sampled_at > SAMPLE_EVERY_S and not self._may_die and station.serves:
            self._sampled_at = now
            if (found := sample(station.pid, self.played.insertions)) is not None:
                self.played.samples.append(found)

    def _event(self, event: dict[str, Any], now: float) -> None:
        kind, counts = event["event"], self.played.counts
        self._logged(f"said {json.dumps(event)}")
        if kind == "socket":
            place = self._by_slot[event["slot"]]
            place.picture, place.seen = event, now
            self.checker.shown(event, now)
        elif kind == "report":
            counts[f"result {event['result']}"] += 1
            if event["mac"] and (event["chip"], event["mac"]) not in self.checker.by_mac:
                self._meet_strangers()
            self._note(list(self.checker.report(event)))
            if "error inside parburn" in str(event["error"]):
                self._note([dumped(event)])
        elif kind == "halt":
            counts["halts"] += 1
            why = str(event["why"])
            self.played.halts[why.split(": ", 1)[-1][:100]] += 1
            self._halted_at = now + self.rng.uniform(0.05, 0.6)
            if "error inside" in why:
                self._note([why])
        elif kind == "station":
            self._halted_at = now + 0.3  # it may have begun halted
        elif kind == "left-out":
            counts["left out"] += 1

    def _meet_strangers(self) -> None:
        """Learn of boards that faults have swapped in."""
        for path in self.checker.files.glob("new*.json"):
            self._known(path.stem)

    def _resume(self) -> None:
        self._halted_at = None
        try:
            send_resume(None, "looked at it", job=self.job.path)
            self.played.counts["resumed"] += 1
        except (NotDone, NoStation) as error:
            if "not halted" not in str(error):
                self.played.counts[f"resume: {type(error).__name__}"] += 1
                self._halted_at = time.monotonic() + 0.5

    def _witness(self) -> None:
        """No line may have moved while any chip burned, nor any port been closed but by a kill."""
        seen = self.rig.witness(with_first=True)
        self.played.counts["line moves"] = seen.moves
        if seen.during_burns and not self.played.counts["moves during burns"]:
            self._note([f"{seen.during_burns} line moves while a chip burned: {seen.first[:2]}"])
        self.played.counts["moves during burns"] = seen.during_burns
        if seen.closes_during_burns > self._closes_of_kills:
            more = seen.closes_during_burns - self._closes_of_kills
            self._closes_of_kills = seen.closes_during_burns
            lines = (self.job.folder / "witness.jsonl").read_text().splitlines()
            closes = [line for line in lines[-400:] if '"close"' in line and '"burning"' in line]
            self._note([f"{more} ports that are there were closed while a chip burned: {closes[-more:]}"])

    # Boards that sit ------------------------------------------------------------------------------------

    def _full(self, place: Place, now: float) -> None:
        if place.early:
            if now >= place.due:
                self._move(place, place.early, now)
            return
        if place.decided:
            if now >= place.due:
                kinds, weights = zip(*self.theme.after, strict=True)
                self._move(place, self.rng.choices(kinds, weights)[0], now)
            return
        picture, fresh = place.picture, place.seen > place.since
        board = self.checker.boards.get(place.board)
        state, mac = place.state, picture.get("mac")
        if state == "verdict" and fresh and not place.waits_for_board:
            same = board is not None and mac == board.mac
            if same or not mac or now - place.since > STALE_S:
                self._verdict(place, board, now, same=same)
        elif not fresh and state == "verdict" and not self.hears_removal:
            if now - self._since(place) > 3 and now - place.asked > 3:  # the same board, or a silent one
                place.asked = now
                self._unlock(place)
        elif (state == "empty" or not fresh) and now - self._since(place) > GONE_S:
            silent = not self.hears_removal and board is not None and (board.dead or bool(board.faults))
            if board is None or not (silent or any("vanishes" in one for one in board.faults)):
                said = dumped(picture)
                self._note([f"{place.board} in {place.slot} was not seen for {GONE_S:g} s: {said}"])
            self._decide(place, now, 0.1)
        elif state == "locked":
            self._decide(place, now, 0.3)
        elif state == "hold" and now - place.since > 3 and self.rng.random() < 0.02:
            self._decide(place, now, 0.1)
        elif state == "verdict" and place.waits_for_board and now - place.since > 2:
            self._decide(place, now, 0.5)
        elif now - self._since(place) > NO_VERDICT_S:
            board_said = f"{place.board} in {place.slot}"
            if state != "hold":
                self._note([f"{board_said} has no verdict after {NO_VERDICT_S:g} s: {dumped(picture)}"])
            self._decide(place, now, 0.1)

    def _since(self, place: Place) -> float:
        """Since when a board sits in a socket of a station that runs."""
        return max(place.since, self.station.began if self.station is not None else 0.0)

    def _verdict(self, place: Place, board: Board | None, now: float, *, same: bool) -> None:
        """A word is read: is it the right one for the board that sits there?"""
        word = place.picture["word"]
        self.played.counts[f"word {word}"] += 1
        if word == "PASS" and board is not None and not same and not board.faults:
            self._note([f"{place.slot} shows PASS of {place.picture.get('mac')}, but {board} sits in it"])
        detail = str(place.picture.get("detail"))
        if (
            word == "LEAVE IN"
            and "an engineer lets it go on" in detail
            and (self._finishing or self.rng.random() < 0.7)
        ):
            try:
                send_resume(place.slot, "it is only the cable", job=self.job.path)
                self.played.counts["units resumed"] += 1
                place.since = now
                return
            except (NotDone, NoStation):
                self.played.counts["units not resumed"] += 1
        self._decide(place, now, 0.25)

    def _decide(self, place: Place, now: float, within_s: float) -> None:
        place.decided, place.due = True, now + self.rng.uniform(0, within_s)

    def _move(self, place: Place, what: str, now: float) -> None:
        """Take the board out, or swap it, or put it elsewhere."""
        free = [one for one in self.places if not one.board]
        two_nodes = sum(one.board == place.board for one in self.places) > 1
        if two_nodes or not self.is_plug or (what == "move" and not free):
            what = "remove"
        try:
            if what != "remove":
                self._really_in(place)
            if what == "swap":
                self._swap(place, now)
            elif what == "replug":
                self.rig.replug(place.number)
                self._sits(place, place.board, now)
            elif what == "move":
                other = self.rng.choice(free)
                self.rig.replug(place.number, other.number)
                name = place.board
                self._is_out(place, now)
                self._sits(other, name, now)
            else:
                self._take_out(place, now)
        except UsageError as error:  # another board than we think sits there: its fault swapped it
            self.played.counts[f"refused: {str(error)[:40]}"] += 1
            self._take_out(place, now)

    def _take_out(self, place: Place, now: float) -> None:
        """Take it out, with its other node if it has one; it is looked at, and laid where it belongs."""
        word = place.picture.get("word") if place.seen > place.since else None
        known = self.checker.boards.get(place.board)
        gone = self.rig.remove(place.number)
        board = self._known(gone)
        for other in self.places:
            if other is not place and other.board == place.board:
                self._is_out(other, now)
        self._is_out(place, now)
        same = known is board and place.picture.get("mac") == board.mac
        if word == "PASS" and same and place.state == "verdict" and not board.faults:
            self._note(self._exact(board, place))
        self._lay_down(board, word)
        if known is not None and known is not board:
            self._lay_down(known, None)

    def _exact(self, board: Board, place: Place) -> list[str]:
        index = place.picture.get("index")
        unit = self.checker.ledger.unit(board.chip, board.mac)
        if unit is None or unit.state != "pass" or unit.index != index:
            return [f"{place.slot} shows PASS as {index} over {board.name}, and the ledger says {unit}"]
        return []

    def _swap(self, place: Place, now: float) -> None:
        known = self.checker.boards.get(place.board)
        wrong = self.rng.random() < 0.05
        chip = self.rng.choice(OTHER_CHIPS) if wrong else CHIP
        came = self.rig.swap(place.number, chip=chip)
        board = self.checker.meet(Board(came.name, came.mac, chip))
        self._sits(place, came.name, now)
        if known is not None:
            self._lay_down(known, None)
        board.stays += 0

    def _known(self, name: str) -> Board:
        """The board of this name; one that a fault has swapped in is met now."""
        board = self.checker.boards.get(name)
        if board is None:
            memory = self.checker.memory(Board(name, "", CHIP))
            mac = memory.field_bits(memory.chip.mac_field).to_bytes(6, "big").hex(":")
            board = self.checker.meet(Board(name, mac, memory.chip.name))
        return board

    def _lay_down(self, board: Board, word: str | None) -> None:
        """It lies outside: look at its memory, and remember whether it is to come back."""
        if any(place.board == board.name for place in self.places):
            return
        self._note(list(self.checker.board(board)))
        if board.name in self.shelf or board.name in self.passed:
            return
        if word == "PASS":
            if len(self.passed) < 50 or self.rng.random() < 0.05:
                self.passed.append(board.name)
        elif board.stays < 5 and not board.dead and board.chip == CHIP and self.rng.random() < 0.85:
            self.shelf.append(board.name)

    def _is_out(self, place: Place, now: float) -> None:
        self._logged(f"{place.board} is out of {place.slot}")
        place.left, place.board = place.board, ""
        place.early, place.decided = "", False
        pause = self.rng.choice((0.0, 0.02, 0.1, 0.3, 0.3, 0.5)) + (0.0 if self.is_plug else 0.5)
        place.since, place.due = now, now + pause

    # Boards that come -----------------------------------------------------------------------------------

    def _empty(self, place: Place, now: float) -> None:
        """Put something in."""
        if place.waits_for_board and place.seen > place.since and self._answer_put_back(place, now):
            return
        if place.state == "locked":
            self._unlock(place)
            place.due = now + 0.3
            return
        kind = self.rng.choices(self.kinds, self.weights)[0]
        try:
            getattr(self, f"_put_{kind}")(place, now)
        except UsageError as error:
            self.played.counts[f"refused: {str(error)[:40]}"] += 1
            place.due = now + 0.2

    def _unlock(self, place: Place) -> None:
        try:
            send_unlock(place.slot, job=self.job.path)
            self.played.counts["unlocked"] += 1
        except (NotDone, NoStation) as error:
            self.played.counts[f"unlock: {type(error).__name__}"] += 1

    def _answer_put_back(self, place: Place, now: float) -> bool:
        """The station waits for a board: put it back, or let an engineer give it up, or put in another."""
        drawn = self.rng.random()
        if drawn < 0.75 and place.left in self.shelf:
            self.shelf.remove(place.left)
            self.rig.insert(place.number, place.left)
            self.played.counts["put back"] += 1
            self._sits(place, place.left, now)
            return True
        if drawn < 0.9 or place.left not in self.shelf:
            self._unlock(place)
            place.due = now + 0.2
            return True
        return False

    def _sits(self, place: Place, name: str, now: float) -> None:
        """A board has come into a socket."""
        rng, played = self.rng, self.played
        played.insertions += 1
        self._logged(f"{name} sits in {place.slot}")
        place.board, place.since = name, now
        place.early, place.decided = "", False
        if name in self.checker.boards:
            self.checker.boards[name].stays += 1
        if rng.random() < self.theme.early:
            place.early = rng.choice(("remove", "remove", "swap", "replug", "move"))
            place.due = now + rng.choice((rng.uniform(0, 0.3), rng.uniform(0.2, 1.5), rng.uniform(0.2, 1.0)))

    def _insert(self, place: Place, now: float, *, name: str = "", chip: str = CHIP) -> Board:
        came = self.rig.insert(place.number, name, chip="" if name else chip)
        board = self.checker.boards.get(came.name) or self.checker.meet(Board(came.name, came.mac, chip))
        self._sits(place, came.name, now)
        return board

    def _put_new(self, place: Place, now: float) -> None:
        self._insert(place, now)

    def _put_shelf(self, place: Place, now: float) -> None:
        if not self.shelf:
            return self._put_new(place, now)
        at = self.rng.randrange(len(self.shelf))
        self.shelf[at], self.shelf[-1] = self.shelf[-1], self.shelf[at]
        self.played.counts["came back"] += 1
        self._insert(place, now, name=self.shelf.pop())
        return None

    def _put_passed(self, place: Place, now: float) -> None:
        if not self.passed:
            return self._put_new(place, now)
        self.played.counts["passed boards came back"] += 1
        self._insert(place, now, name=self.passed.pop(self.rng.randrange(len(self.passed))))
        return None

    def _put_wrong(self, place: Place, now: float) -> None:
        self.played.counts["wrong chips"] += 1
        self._insert(place, now, chip=self.rng.choice(OTHER_CHIPS))

    def _put_dead(self, place: Place, now: float) -> None:
        self.played.counts["dead"] += 1
        came = self.rig.dead(place.number)
        self.checker.meet(Board(came.name, came.mac, CHIP, dead=True))
        self._sits(place, came.name, now)

    def _put_faulty(self, place: Place, now: float) -> None:
        sentences = set()
        for _ in range(self.rng.choice((1, 1, 2))):
            kind = self.rng.choice(self.theme.faults)
            sentence = KINDS[kind](self.rng, len(self.places), CHIP)
            self.rig.fault(place.number, sentence)
            sentences.add(sentence)
        self.played.counts["faulty"] += 1
        back = self.shelf.pop() if self.shelf and self.rng.random() < 0.3 else ""
        board = self._insert(place, now, name=back)
        board.faults |= sentences

    def _sitting(self) -> list[Place]:
        """Sockets in which a board of the job sits that has no other node."""
        names = Counter(one.board for one in self.places if one.board)
        return [one for one in self.places if one.board and names[one.board] == 1]

    def _really_in(self, place: Place) -> Board:
        """The board in a socket: a fault may have swapped the one that was put in."""
        place.board = self.rig.boards()[f"ttyUSB{place.number}"]["board"]  # type: ignore[index]  # it is full
        return self._known(place.board)

    def _put_clone(self, place: Place, now: float) -> None:
        sitting = self._sitting()
        if not sitting:
            return
        first = self.rng.choice(sitting)
        original = self._really_in(first)
        came = self.rig.clone(first.number, place.number)
        self.checker.meet(Board(came.name, came.mac, original.chip, clone=True))
        original.clone = True
        self.played.counts["clones"] += 1
        self._sits(place, came.name, now)

    def _put_twin(self, place: Place, now: float) -> None:
        sitting = self._sitting()
        if not sitting:
            return
        first = self.rng.choice(sitting)
        self._really_in(first)
        came = self.rig.twin(first.number, place.number)
        self.played.counts["twins"] += 1
        self._sits(place, came.name, now)
        place.early = first.early = ""
        first.decided = False

    def _put_odd(self, place: Place, now: float) -> None:
        self._odd += 1
        name = f"odd{self._odd}"
        path = self.checker.files / f"{name}.json"
        self.job.write_odd(path, self.rng)
        came = self.rig.insert(place.number, name)
        self.checker.meet(Board(came.name, came.mac, CHIP, odd=True))
        self.played.counts["odd"] += 1
        self._sits(place, came.name, now)


def tell(text: str) -> None:
    """Say something while it goes on."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
