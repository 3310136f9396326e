"""Where the project, its examples and the package under test are."""

import pathlib

import lambda_adapter

#: The checkout, or the unpacked sdist.
PROJECT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "examples"
#: The package that the tests import: the checkout's or an installed one.
PACKAGE = pathlib.Path(lambda_adapter.__file__).resolve().parent
#: The folder that PYTHONPATH names so that another process imports the same package.
PACKAGES = PACKAGE.parent
