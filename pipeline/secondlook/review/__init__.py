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
``estimates``          what do a few counts say of the whole?
``verdicts``           what was decided of every case?
``agreement``          do reviewers agree, and does the model's word move them?
``missed``             how many cases that nobody would read hold a mode all the same?
``patterns``           how often is a mode flagged or confirmed, by unit, officer or month?
``figures``            how far is the work, and how well do people and model agree?
``learning``           which cases would teach the next model most?
``redaction``          what must not leave the desk?
``exports``            what did the reviewers teach?
``inquiry``            who saw this case, what did the model say, and does all that still hold?
``backup``             how is a desk copied and brought back?
``app``                what does a browser see?
=====================  ============================================================================
"""
