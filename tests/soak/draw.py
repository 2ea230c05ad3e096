"""Which campaign a seed plays: one of faults, one of identity, or the one that a theme names."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import traceback
from pathlib import Path

from tests.soak.campaign import MIXED, Campaign, Result, Theme
from tests.soak.identity.campaign import IDENTITY, IdentityCampaign, IdentityTheme

IDENTITY_SHARE = 0.5  # of the campaigns of a mixed soak

AnyTheme = Theme | IdentityTheme


def theme_of(seed: int) -> AnyTheme:
    """What the campaign of a seed is about in a mixed soak."""
    return IDENTITY if random.Random(f"theme {seed}").random() < IDENTITY_SHARE else MIXED


def kinds_of(theme: AnyTheme | None) -> tuple[str, ...]:
    """The faults that a soak is to draw."""
    return (theme or MIXED).kinds


def run_campaign(
    seed: int, *, theme: AnyTheme | None = None, mutation: str = "", keep: Path | None = None
) -> Result:
    """Play a campaign in a folder of its own, which goes afterwards unless `keep` names it.

    A hang, or the soak's own failure, is a violation of its seed like any other.
    """
    folder = keep or Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
    folder.mkdir(parents=True, exist_ok=True)
    theme = theme or theme_of(seed)
    play = IdentityCampaign if isinstance(theme, IdentityTheme) else Campaign
    began, result = time.monotonic(), Result(seed)
    try:
        campaign = play(seed, folder, theme, mutation)  # type: ignore[arg-type]  # the theme is of its kind
        result = campaign.result
        campaign.play()
    except Exception:
        result.violations.append(f"the campaign broke off: {traceback.format_exc()}")
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    result.seconds = time.monotonic() - began
    return result
