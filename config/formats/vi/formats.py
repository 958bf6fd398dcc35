"""Dates as they are written in Vietnam; numbers are as Django's own formats have them (1.234,5)."""

DATE_FORMAT = SHORT_DATE_FORMAT = "d/m/Y"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "H:i:s d/m/Y"
TIME_FORMAT = "H:i:s"
