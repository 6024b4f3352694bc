"""Evidence to HTML, JSON, JUnit, SARIF and model-index files."""
