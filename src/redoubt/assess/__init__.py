"""Policy x system to Evidence: plan, execute, resume, diagnose, conclude."""
