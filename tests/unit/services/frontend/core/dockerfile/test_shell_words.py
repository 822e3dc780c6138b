"""Variables, quotes, escapes."""

import pytest

from services.frontend.core.dockerfile.shell_patterns import replace_pattern, trim_prefix, trim_suffix
from services.frontend.core.dockerfile.shell_words import WordRules, expand, split
from services.frontend.core.failure import DockerfileError

ENV = {"A": "apple", "E": "", "P": "/a/b/c.tar.gz", "S": "x  y"}
RULES = WordRules()


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$A ${A} $NOPE.", "apple apple ."),
        ("${A:-d} ${E:-d} ${E-d} ${N-d}", "apple d  d"),
        ("${A:+y} ${E:+y} ${E+y} ${N+y}", "y  y "),
        ("${A?x} ${E?x}", "apple "),
        ("${N:-${A}s}", "apples"),
        ("${P#*/} ${P##*/} ${P%.*} ${P%%.*}", "a/b/c.tar.gz c.tar.gz /a/b/c.tar /a/b/c"),
        ("${P/a/X} ${P//a/X} ${A/p*/-}", "/X/b/c.tar.gz /X/b/c.tXr.gz a-"),
        ("'$A' \"$A\" \\$A", "$A apple $A"),
        ('"a\\"b\\n"', 'a"b\\n'),
        ("$1x$$$?", "x"),
        ("$.$", "$.$"),
        ("a\\", "a"),
        ("é$A", "éapple"),
        ("<< x < y", "<< x < y"),
    ],
)
def test_a_word_is_expanded(text: str, result: str) -> None:
    assert expand(text, ENV, RULES).text == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'x", "unexpected end of statement while looking for matching single-quote"),
        ('"x', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${A^}", "unsupported modifier (^) in substitution"),
        ("${A:#x}", "unsupported modifier (:#) in substitution"),
        ("${N?}", "N: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${N:?why}", "N: why"),
        ("${A/x", "syntax error: missing '/' in ${}"),
        ("${A#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"),
    ],
)
def test_broken_words_are_errors(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(text, ENV, RULES)

    assert (
        caught.value.message == f'failed to process "{text.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}": {message}'
    )


def test_what_was_found_and_what_not_is_told() -> None:
    result = expand("$A ${B:-$C}", ENV, RULES)

    assert (list(result.matched), list(result.unmatched)) == (["A"], ["C", "B"])


def test_words_are_split_after_expansion_but_not_in_quotes() -> None:
    assert split('a $S "$S" b\\ c', ENV, RULES) == ["a", "x", "y", "x  y", "b c"]


def test_rules_keep_quotes_escapes_and_unset_variables() -> None:
    kept = WordRules(raw_quotes=True, raw_escapes=True, skip_unset=True)

    assert expand("'a' \"b\" \\c $N ${N:-x} $A", ENV, kept).text == "'a' \"b\" \\c $N ${N:-x} apple"
    assert expand("'$A'", ENV, WordRules(skip_quotes=True)).text == "'apple'"
    assert expand("`$A \\$A", ENV, WordRules(escape="`")).text == "$A \\apple"


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DockerfileError, match="nested too deeply"):
        expand("${N:-" * 5000 + "}" * 5000, {}, RULES)


def test_patterns_match_shortest_or_longest() -> None:
    assert trim_prefix("*a", "banana", greedy=False) == "nana"
    assert trim_prefix("*a", "banana", greedy=True) == ""
    assert trim_suffix("a*", "banana", greedy=False) == "banan"
    assert trim_suffix("a*", "banana", greedy=True) == "b"
    assert trim_suffix("\\*", "x*", greedy=False) == "x"
    assert trim_prefix("x", "banana", greedy=True) == "banana"


def test_replacing_all_expands_dollar_zero_and_skips_empty_matches() -> None:
    assert replace_pattern("a?", "<$0>", "banana", replace_all=True) == "b<an><an>a"
    assert replace_pattern("*", "x", "banana", replace_all=True) == "x"
    assert replace_pattern("a", "$0", "banana", replace_all=False) == "b$0nana"
