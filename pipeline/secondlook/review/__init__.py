"""The reviewers' desk: how flags become decisions, and decisions the next model.

=====================  ============================================================================
module                 what it answers
=====================  ============================================================================
``tables``             what does the desk store?
``database``           where does it store it (SQLite or PostgreSQL), and is that intact?
``record``             who did what, and was any of it altered since?
``search``             which cases hold these words?
``intake``             how does a run get onto the desk?
``accounts``           who may do what?
``assignment``         who reads which case, and what of the model do they see?
``queue``              what is to be read, in which order?
``casefile``           what is there to see of one case?
``decisions``          what did a reviewer decide, mark and note?
``figures``            how far is the work, and how well do people and model agree?
``learning``           which cases would teach the next model most?
``redaction``          what must not leave the desk?
``exports``            what did the reviewers teach?
``backup``             how is a desk copied and brought back?
``app``                what does a browser see?
=====================  ============================================================================
"""
