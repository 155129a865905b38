"""Words that class names are compared with: common English nouns, most of them things that can be seen."""

TEXT = """
    ankle apron arch arrow attic autumn badge balcony band barrel basin basket bath bead beard bell belt blade blanket blossom
    board bone boot bottle bow box bracket branch bread breeze brick broom bubble bucket bundle button cabin cable canal
    candle canvas cape card carpet cart castle cave ceiling cellar chain chalk chimney circle clay cliff cloak cloth cloud
    coal coast coat coin collar column comb copper corn corner cotton counter cradle crate cream crown crystal curtain cushion
    dawn desk diamond dish ditch door drawer dress drum dust earth elbow engine envelope feather fence field finger fire flag
    flame flour flute foam fog fork fountain frame frost fruit gap garden gate glass glove grain grass gravel hall hammer hand
    handle harbour hat hay heart hill hinge hook horn house ink iron island ivory jacket jar jewel kettle key kitchen knee
    knife knot ladder lake lamb lane lantern leaf leather ledge lens lid lightning line lock log mantle marble market mask
    mast match meal medal mill mirror mist moon moss mouth mud nail neck needle nest net night oak oven paint pan paper path
    pebble pen pillow pin pipe plank plate pocket pole pond porch pot powder ribbon ring road rock roof rope sack sail salt
    sand scarf screw sea seed shadow sheet shelf shell shirt shoe silk silver skin sky sleeve smoke snow soap sock soil spark
    spoon spring stair steam stem step stick stone storm straw street string sugar table tail tent thread throne tile tin
    tooth torch towel tower tray tunnel valley veil velvet wall wave wheel window wing wire wood wool yard
"""
NOUNS = TEXT.split()
