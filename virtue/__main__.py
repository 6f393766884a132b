"""`python -m virtue`: the command line."""

try:
    from virtue.cli import main
except ImportError as error:
    from virtue.distribution import explain_import

    explain_import(error)
    raise

main()
