"""atod-sweep: how should a small LLM agent be weaned off its teacher?

The packages follow the data: config -> objective -> envs -> training -> sweep -> evidence -> export.
A package imports from itself and from packages further up that list only (tests/test_architecture.py).
"""

__version__ = "0.1.0"
