"""How mutmut names functions and their mutants: ``stream.core.judge.xǁJudgeǁfloor__mutmut_3``, ``….x_weight__mutmut_1``."""

import re
from typing import Final

_NAME: Final = re.compile(r"(?P<module>.+)\.x(?:ǁ(?P<owner>\w+?)ǁ|_)(?P<function>\w+)__mutmut_\d+")


def in_function(mutant: str) -> str:
    """As people write it: ``stream.core.judge.Judge.floor``."""
    found = _NAME.fullmatch(mutant)
    if found is None:
        raise ValueError(f"no name of a mutant: {mutant}")
    return ".".join(part for part in found.group("module", "owner", "function") if part)


def pattern_of(function: tuple[str, str | None, str]) -> str:
    """All mutants of a function: its module, its class, its name."""
    module, owner, name = function
    return f"{module}.x{f'ǁ{owner}ǁ' if owner else '_'}{name}__mutmut_*"


def module_of(mutant: str) -> str:
    """``stream.core.judge``."""
    return mutant.partition(".x")[0]
