"""Evidence as a signed statement, and the guard that does not serve without it; bills of materials; the command line."""

import json
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from digits import ROOT_OF_READER  # noqa: F401  replaced below

