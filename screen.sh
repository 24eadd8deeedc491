# screen.sh NAME "ENV" LIMIT SPECS -- SEEDS
n=$1; e=$2; shift 2
env $e bash run.sh many.py "$@" > out.$n.txt 2>&1
