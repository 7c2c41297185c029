-- What a verdict says besides: limits of it, and differences in form only.

ALTER TABLE verdicts
    ADD COLUMN equivalent_keys Array(String) AFTER equivalent,
    ADD COLUMN equivalent_expected Array(String) AFTER equivalent_keys,
    ADD COLUMN equivalent_observed Array(String) AFTER equivalent_expected,
    ADD COLUMN equivalent_sources Array(String) AFTER equivalent_observed,
    ADD COLUMN notes Array(String) AFTER coverage
