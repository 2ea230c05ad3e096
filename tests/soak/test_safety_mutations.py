"""Each rule of our own safety switched off, one at a time: the soak must see it, and hold with it on."""

from __future__ import annotations

import pytest

from tests.soak.mutations import MUTATIONS
from tests.soak.test_soak import soak
from tests.soak.themes import EVERY_RULE

REFUSED = ("a nested index", "an assigned index")  # nobody passes while the rule is on
CAMPAIGN_RUNS = 12  # board runs of the campaigns that must hold
AT_MOST = 600  # board runs in which the mutation must show
# Campaigns that see what is seen in few; those before them take a minute and do not.
FIRST_SEED = {
    "no read-back of the programming registers": 5,
    "the op code stays in CONF": 2,
    "no block number in the program command": 3,
}


def test_every_mutation_has_its_campaign() -> None:
    assert EVERY_RULE.keys() == MUTATIONS.keys()


@pytest.mark.long
@pytest.mark.parametrize("rule", EVERY_RULE)
def test_the_soak_sees_that_a_rule_is_off(rule: str) -> None:
    whole = soak("--theme", rule, "--runs", CAMPAIGN_RUNS)
    assert whole["violations"] == 0, whole["text"]
    assert rule in REFUSED or whole["result pass"] > 0, whole["text"]
    mutated = soak("--theme", rule, "--runs", AT_MOST, "--mutate", "--seed", FIRST_SEED.get(rule, 1))
    assert mutated["violations"] > 0, f"switched off and not seen: {rule}"
