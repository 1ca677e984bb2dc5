"""High-throughput batch inference for whole-body bone scintigraphy. Research use only, not for clinical use.

The public names are in ``__init__.pyi``. Each is imported when it is first used, so that ``import bsbatch`` is light.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
