"""What a person should look at, and results that nobody changes unseen."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from pathlib import Path

KEY = "grading.key"  # beside the assignments; not released
# Ways to reach what is not one's own. Each has honest uses, so nothing is taken off.
_REACHES = {
    "sys.modules": r"\bsys\s*\.\s*modules\b",
    "_getframe": r"\b_getframe\b|\binspect\s*\.\s*(?:stack|currentframe)\b",
    "ast_transformers": r"\bast_transformers\b",
    "run_cell": r"\brun_cell\w*",
    "/proc": r"/proc\b",
    "ctypes": r"\bctypes\b",
    "gc.get_objects": r"\bgc\s*\.\s*get_\w+",
    "os._exit or kill": r"\bos\s*\.\s*(?:_exit|kill|killpg)\b",
    "another process": r"\bsubprocess\b|\bos\s*\.\s*(?:fork|system|popen|exec\w+)\b",
    "the grader's own modules": r"\b(?:book\s*\.\s*course|worker\s*\.\s*\w+)\b",
    "an absolute path": r"""["'](?:/[A-Za-z_]|~/|[A-Za-z]:[\\/])""",
}


def reaches(code: str) -> list[str]:
    """What the code reaches for that a person should look at."""
    return [name for name, pattern in _REACHES.items() if re.search(pattern, code)]


def secret_of(course: Path) -> bytes:
    """The key that results are signed with; made once, in the lecturer's folder."""
    path = course / KEY
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(beside, secrets.token_hex(32).encode())
        os.close(beside)
    return path.read_bytes()


def signed(result: dict, secret: bytes) -> dict:
    """The result with its signature."""
    return {**result, "signature": _signature(result, secret)}


def is_untouched(result: dict, secret: bytes) -> bool:
    """Whether the signature is the result's."""
    given = str(result.get("signature", ""))
    return hmac.compare_digest(given.encode(), _signature(result, secret).encode())


def _signature(result: dict, secret: bytes) -> str:
    content = {name: value for name, value in result.items() if name != "signature"}
    text = json.dumps(content, sort_keys=True)
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
