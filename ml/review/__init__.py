"""Results for people who look through them and mark what is true: reads that stay small however many there are."""

from ml.review.marks import Marks, Pair
from ml.review.results import LISTED, Review
from ml.review.windows import WINDOW, Further, Wanted

__all__ = ["LISTED", "WINDOW", "Further", "Marks", "Pair", "Review", "Wanted"]
