"""The demonstration behind `inference-fleet demo`: stage, watch, judge, report."""
