"""What the servers of all pages share: headers, origins, files, sentences, style. No TensorFlow, no
figr_tf.
"""
