"""How well a model finds: commands that take any folder of photos and print JSON.

python -m virtue.evaluation.sample_photos OUT --packages DIR   builds a set to try
python -m virtue.evaluation.details FOLDER          a detail cut out of a photo -> that photo
python -m virtue.evaluation.cutouts FOLDER          a cut-out of any outline -> the photo it was cut from
python -m virtue.evaluation.texts FOLDER            a text -> the photo it describes
python -m virtue.evaluation.real_photos OUT --packages DIR     builds a set of real photos
python -m virtue.evaluation.boxes PHOTOS            the box shown for words, compared with one drawn by hand
python -m virtue.evaluation.words KIND PHOTOS       words for people, colours or hypernyms -> their photos
python -m virtue.evaluation.recoloured --packages DIR    a colour and a thing -> that picture of its four
python -m virtue.evaluation.rendered_words PHOTOS   rendered words: which of them are read?
python -m virtue.evaluation.written PHOTOS          what is written in a photo -> that photo
python -m virtue.evaluation.sureness FOLDER         first hits: what is there, and what is not
"""
