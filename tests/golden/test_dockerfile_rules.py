"""Each option, flag, instruction and rule of the language has a case that shows it (reference 04 §1, §3–5)."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from services.frontend.core.dockerfile import rules
from tests.kit.dockerfile_cases import EXPECTED, cases

TESTS = Path(__file__).resolve().parents[1]

OPTIONS = (
    *(
        "filename",
        "target",
        "platform",
        "multi-platform",
        "label",
        "no-cache",
        "cache-imports",
        "cache-from",
        "contextkey",
        "dockerfilekey",
    ),
    *("contextsubdir", "context", "sharedkey", "add-hosts", "force-network-mode", "hostname", "cgroup-parent", "shm-size", "ulimit"),
    *("memory", "memswap", "cpushares", "cpuperiod", "cpuquota", "cpusetcpus", "cpusetmems", "image-resolve-mode", "attest", "requestid"),
    *("frontend.caps", "cmdline", "vcs"),
)
ELSEWHERE = {
    "input-metadata": "unit/services/frontend/core/test_context.py",
    "local-sessionid": "unit/services/frontend/core/test_options.py",
    "source": "e2e/test_frontend_images.py",
}
"""Options that need frontend inputs, two sessions, or an executor."""

BUILD_ARGS = (
    *("BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_CONTEXT_KEEP_GIT_DIR", "BUILDKIT_MULTI_PLATFORM", "BUILDKIT_SANDBOX_HOSTNAME"),
    *("BUILDKIT_DOCKERFILE_CHECK", "BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE", "SOURCE_DATE_EPOCH"),
    *("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"),
)
FLAGS = (
    *("--mount=", "--network=none", "--network=host", "--security=insecure", "--device=", "--from=", "--chown=", "--chmod=", "--link"),
    *("--parents", "--exclude=", "--checksum=", "--keep-git-dir", "--unpack", "--interval=", "--timeout=", "--start-period="),
    *("--start-interval=", "--retries=", "--platform=", "type=bind", "type=cache", "type=tmpfs", "type=secret", "type=ssh"),
    *("sharing=private", "sharing=locked", "sharing=shared", "env=", "required", "rw", "uid=", "gid=", "mode=", "size=", "id=", "ro"),
)
INSTRUCTIONS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL"),
    *("STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
GIT_QUERY = ("ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules", "mtime", "fetch-by-commit")
SIGNS = (":-", "-", r":\+", r"\+", r":\?", r"\?", "#", "##", "%", "%%", "/", "//")
EXPANSIONS = (r"\$\w", r"\$\{\w+\}", *(rf"\$\{{\w+{sign}" for sign in SIGNS))
RULES = [rule.name for rule in vars(rules).values() if isinstance(rule, rules.Rule)]


@cache
def texts() -> str:
    """All Dockerfiles and options."""
    files = (file for case in cases() for file in case.folder.rglob("*") if file.is_file() and file.name != EXPECTED)
    return "\n".join(file.read_text(errors="replace") for file in files)


@cache
def options() -> frozenset[str]:
    return frozenset(part for case in cases() for key in case.options for part in (key, key.partition(":")[0], key.lower()))


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_a_case(name: str) -> None:
    assert name in options()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_option_that_no_case_can_have_is_tested_elsewhere(name: str) -> None:
    assert name not in options()
    assert name in (TESTS / ELSEWHERE[name]).read_text()


@pytest.mark.parametrize("name", BUILD_ARGS)
def test_a_build_arg_with_a_meaning_has_a_case(name: str) -> None:
    assert f"build-arg:{name}".lower() in options()


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_has_a_case(flag: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(flag)}", texts())


@pytest.mark.parametrize("word", INSTRUCTIONS)
def test_an_instruction_has_a_case(word: str) -> None:
    assert re.search(rf"^{word} ", texts(), re.MULTILINE)


@pytest.mark.parametrize("key", GIT_QUERY)
def test_a_query_of_git_urls_has_a_case(key: str) -> None:
    assert re.search(rf"\.git\?(\S*&)?{key}=", texts())


@pytest.mark.parametrize("form", EXPANSIONS)
def test_a_form_of_expansion_has_a_case(form: str) -> None:
    assert re.search(form, texts())


@pytest.mark.parametrize("rule", RULES)
def test_a_lint_rule_has_a_case(rule: str) -> None:
    kept = (json.loads((case.folder / EXPECTED).read_text()) for case in cases())

    assert any(warning[0].startswith(f"{rule}: ") for answer in kept for warning in answer["warnings"])
