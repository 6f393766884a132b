from virtue.cli import main

main()
