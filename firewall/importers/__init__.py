# SPDX-License-Identifier: MIT
"""Policies of other firewalls as policies of fw: text in, text out, and what could not be carried over."""
