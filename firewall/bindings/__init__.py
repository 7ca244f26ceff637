# SPDX-License-Identifier: MIT
"""The libraries that fw calls, and all of its ctypes: one thin wrapper for each call, which decides nothing."""
