version_of() {
  tr -d '\n' < "$1"
}

pack() {
  mkdir -p out
  echo "$1 $2" > "out/$1-$2.txt"
}
