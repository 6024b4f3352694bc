"""The update gate: a candidate is kept, compared in a sandbox, judged, and put in force or not."""
