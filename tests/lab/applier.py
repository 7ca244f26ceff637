# SPDX-License-Identifier: MIT
"""Puts policies in force as they come, in the namespace that it is started in.

Each line of standard input is the text of a policy as a JSON string; "done", or what is wrong, is the answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from firewall import engine
from firewall.errors import FwError
from firewall.written import Written

for line in sys.stdin:
    try:
        engine.apply(Written(json.loads(line)), runtime=True, yes=True)
        print("done", flush=True)
    except FwError as error:
        print(json.dumps(str(error)), flush=True)
