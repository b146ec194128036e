"""WebShop: shopping by instruction, by the pages and the reward of the WebShop paper."""

from atod_sweep.envs.benchmarks.webshop.env import WebShop

__all__ = ["WebShop"]
