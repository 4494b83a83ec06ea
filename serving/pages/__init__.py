"""What the servers of all pages share: headers, origins, files, sentences, style.

It needs neither TensorFlow nor figr_tf.
"""
