"""Random changes of training images (`--augment`), a pure function of the seed, the epoch and the example.

`draws` makes the random numbers, `geometry`, `colours` and `mixing` change pixels, `augmenter` applies the words of a
recipe. All of it is written with `keras.ops`, so that TensorFlow and JAX give the same images.

The layers of Keras (`keras.layers.RandomRotation` and others) draw from a generator of their own, whose state depends
on the batches made before, and `keras.layers.RandAugment` draws its operations once for a whole batch. So the
operations of Keras that lie below them are used here.
"""
