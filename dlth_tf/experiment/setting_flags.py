"""What the settings that an experiment keeps are called on the command line."""

import re

# The flag of a setting by its place among the others, first match first
_FLAGS = {
    r"task\.network": "model",
    r"rewind_to\..*": "rewind_to",
    r"cycles\.count": "cycles",
    r"cycles\.zero_between": "zero_between_cycles",
    r"cycles\..*\.(every|hold)": r"cycle_penalty_\1",
    r".*growth\.(\w+)": r"penalty_\1",
    r".*transformation\.(batch_size|learning_rate)": r"transform_\1",
    r"mask_changes\.(every|until)": r"mask_\1",
    r"(?:.*\.)?(\w+)": r"\1",
}


def flag_of(setting: str) -> str:
    """Returns the flag that sets a setting.

    Example:

        >>> flag_of("transformation.growth.every")
        '--penalty_every'
    """
    found = ((re.fullmatch(pattern, setting), flag) for pattern, flag in _FLAGS.items())
    return next(f"--{match.expand(flag)}" for match, flag in found if match)
