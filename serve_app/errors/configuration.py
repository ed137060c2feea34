"""Configurations that cannot be served."""

from serve_app.errors.base import ServingError


class SettingsError(ServingError):
    """The configuration cannot be served."""

    code = "invalid_settings"

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(setting, problem)
        self.setting, self.problem = setting, problem

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}"
