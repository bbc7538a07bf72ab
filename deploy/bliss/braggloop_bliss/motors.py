"""Axes of Tango devices whose unit is large beside their steps, as metres are.

- plugin: emotion
  package: braggloop_bliss.motors
  class: FineTangoMotor
  axes:
    - {name: x, uri: braggloop/goniometer/x, velocity_attr: velocity, unit: m, tolerance: 1e-6, display_digits: 9}
"""

from __future__ import annotations

from bliss.controllers.motors.tango_attr_as_motor import Axis, TangoAttrMotorController

__all__ = ["Axis", "FineTangoMotor"]  # Bliss looks for the class of the axes beside that of their controller


class FineTangoMotor(TangoAttrMotorController):
    """Bliss's `tango_attr_as_motor`, which takes a move of less than 5e-7 of the unit for none: 0.5 um, in metres."""

    def steps_position_precision(self, axis: Axis) -> float:
        return 0.0
