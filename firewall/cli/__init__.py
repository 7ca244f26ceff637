# SPDX-License-Identifier: MIT
"""The command line: nouns that read, verbs that write."""
