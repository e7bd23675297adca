"""Everything behind HTTP: inference and its records. Imports neither Flask nor Eve."""
