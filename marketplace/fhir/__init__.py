"""FHIR R4 in: a patient's bundle -> the values of a data dictionary."""
