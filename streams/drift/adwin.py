"""river's ADWIN (Bifet and Gavaldà 2007) without the rest of river: see ``streams.drift.page_hinkley`` for why.

``river.drift.ADWIN`` is a thin class around one of river's compiled module, which comes without river's data sets.
"""

from river._river_rust.drift import AdaptiveWindowing


class Adwin:
    """A window of numbers that drops its older part when the newer one's mean is significantly higher.

    ``delta`` is the significance of one comparison. ``update`` says whether the mean rose just now.
    """

    def __init__(self, delta: float) -> None:
        # Every number is looked at; a part of the window has at least five of them, as in river's defaults.
        self._window = AdaptiveWindowing(delta, 1, 5, 5, 10)

    def update(self, x: float) -> bool:
        """Take in one number; return whether the mean of what is kept has risen."""
        before = self._mean()
        return bool(self._window.update(x)) and self._mean() > before

    def _mean(self) -> float:
        width = self._window.get_width()
        return float(self._window.get_total() / width) if width else 0.0
