# SPDX-License-Identifier: MIT
"""fw: a stateful firewall at the traffic-control hooks."""

__version__ = "0.1.0"
