"""Questions about a Dockerfile other than building it: describe, outline, targets, lint, convertllb (frontend/subrequests).

Each answer is metadata: `result.json` in the field order of BuildKit's structs, mostly `result.txt` as clients print it, and `version`.
"""

from services.frontend.core.subrequests.answer import answer_subrequest

__all__ = ["answer_subrequest"]
