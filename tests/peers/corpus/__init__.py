"""The corpus: our own scripts and command sequences. `ALL` is every case, each name once."""

from tests.peers.case import Case
from tests.peers.corpus.departures import DEPARTURES
from tests.peers.corpus.esp32 import ESP32
from tests.peers.corpus.esp32c3 import ESP32C3
from tests.peers.corpus.esp32s3 import ESP32S3
from tests.peers.corpus.stories import STORIES

ALL: tuple[Case, ...] = (*ESP32, *ESP32S3, *ESP32C3, *STORIES, *DEPARTURES)
