"""How runs end and what they count, by name. Every pytest run loads this module, and `results` costs it too much."""

from __future__ import annotations

CHECKS_FAILED, USAGE_ERROR, GATE_FAILED, NOTHING_SCORED, INCOMPLETE = 1, 4, 10, 11, 12
"""Exit statuses, of pytest and `editeval` (docs/gating.md, docs/outcomes.md); pytest has its own from 2 to 6."""

SCORES_COMPUTED = "scores computed"
SCORES_REMEMBERED = "scores remembered"
FEATURES_REMEMBERED = "features remembered"
EDITS_MADE = "edits made"
EDITS_KEPT = "edits kept"
SOFT_RETRIED = "soft failures retried"
SOFT_SCORED = "soft failures that have a score now"
NOT_SAVED = "not saved: "  # with the reason behind it
"""What is counted beside the images that were encoded, which are counted under the name of the model's family."""

OF_SCORES = frozenset({SCORES_COMPUTED, SCORES_REMEMBERED, SOFT_RETRIED, SOFT_SCORED})
"""What is counted once for each check, however often a plugin runs it again."""
