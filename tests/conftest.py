"""Keep compiled modules, for every test.

Two workers and some hundred processes that tests start load the same modules. Where the environment keeps no bytecode,
each of them would compile all of fourfold again, and rewrite the assertions of all tests.
"""

import os
import sys

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
