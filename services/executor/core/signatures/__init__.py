"""Signatures of what sources give: OpenPGP and SSH, over git objects and downloads (util/pgpsign, util/gitutil/gitsign).

Signatures and keys come from clients and remotes; nothing here trusts a length. Only strong hashes and keys are taken.
"""

__all__: list[str] = []
