"""What performance and soundness are measured with: each module is a command that prints JSON."""
