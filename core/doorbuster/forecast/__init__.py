"""What a scenario will do, by arithmetic alone: before anything is simulated or sent."""

from doorbuster.forecast.forecast import Forecast, forecast

__all__ = ["Forecast", "forecast"]
