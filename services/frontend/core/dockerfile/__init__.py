"""From the bytes of a Dockerfile to stages of typed instructions.

Nouns: line, directive, heredoc, node (one instruction as text), word, instruction, stage, rule, warning.
Order: `parser` cuts the file into nodes, `instructions` gives a node its type, `stages` groups them.
`shell_words` expands variables. Nothing here knows LLB.
"""

__all__: list[str] = []
