"""What is wrong with rows, by place: the error that every reader of tensors raises."""

from __future__ import annotations

#: A request with thousands of wrong rows is told about this many.
MOST = 20


class TensorIssues(ValueError):
    """Values that do not fit: `issues` maps a place (`instances[2].image`) to what was expected and what came."""

    def __init__(self, issues: dict[str, str]) -> None:
        super().__init__("; ".join(f"{place}: {reason}" for place, reason in issues.items()))
        self.issues = issues
