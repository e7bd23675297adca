"""Results for people who look through them and mark what is true: reads that stay small however many there are."""

from ml.review.marks import Marks, Pair, truth_text
from ml.review.results import Review
from ml.review.windows import WINDOW, Further, Marked, Wanted

__all__ = ["WINDOW", "Further", "Marked", "Marks", "Pair", "Review", "Wanted", "truth_text"]
