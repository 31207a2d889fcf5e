"""How rendered markdown looks beyond its words: code on a padded ground, tables with lines and room around them."""

from __future__ import annotations

from PySide6.QtGui import (
    QBrush,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
    QTextTableCellFormat,
)

from agentpane.ui.look.theme import Look

PAD = 8.0
ROOM = 8.0  # above and below a table or a piece of code
CODE_SCALE = 0.92


def style_document(document: QTextDocument, look: Look) -> None:
    """Dress a document that was just made from markdown."""
    whole = QTextCursor(document)
    whole.beginEditBlock()  # it is laid out once, at the end
    _set_fixed_face(document, look)
    for first, last in _code_blocks(document):
        _frame_code(document, first, last, look)
    for frame in document.rootFrame().childFrames():
        if isinstance(frame, QTextTable):
            _dress_table(frame, look)
    whole.endEditBlock()


def _code_blocks(document: QTextDocument) -> list[tuple[int, int]]:
    """The runs of code, as the position of their first and behind their last character, from the end upwards."""
    found: list[tuple[int, int]] = []
    block, within = document.begin(), False
    while block.isValid():
        if _is_code(block):
            end = block.position() + block.length() - 1
            found = [*found[:-1], (found[-1][0], end)] if within else [*found, (block.position(), end)]
        within = _is_code(block)
        block = block.next()
    return found[::-1]


def _is_code(block: QTextBlock) -> bool:
    blocks = block.blockFormat()
    return blocks.hasProperty(QTextFormat.Property.BlockCodeFence) or blocks.hasProperty(
        QTextFormat.Property.BlockCodeLanguage
    )


def _frame_code(document: QTextDocument, first: int, last: int, look: Look) -> None:
    cursor = QTextCursor(document)
    cursor.setPosition(first)
    cursor.setPosition(last, QTextCursor.MoveMode.KeepAnchor)
    ground = QTextFrameFormat()
    ground.setBackground(QBrush(look.colour("surface")))
    ground.setBorder(1)
    ground.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
    ground.setBorderBrush(QBrush(look.colour("border")))
    ground.setPadding(PAD)
    ground.setTopMargin(ROOM)
    ground.setBottomMargin(ROOM)
    tight = QTextBlockFormat()
    tight.setTopMargin(0)
    tight.setBottomMargin(0)
    cursor.mergeBlockFormat(tight)
    frame = cursor.insertFrame(ground)
    for beside in (frame.firstPosition() - 1, frame.lastPosition() + 1):
        _flatten_if_empty(document, beside)


def _flatten_if_empty(document: QTextDocument, position: int) -> None:
    """Beside a frame there is always a paragraph: one without words takes no room."""
    block = document.findBlock(position)
    if block.isValid() and not block.text():
        flat = QTextBlockFormat()
        flat.setTopMargin(0)
        flat.setBottomMargin(0)
        flat.setLineHeight(1, QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        QTextCursor(block).setBlockFormat(flat)


def _set_fixed_face(document: QTextDocument, look: Look) -> None:
    face = QTextCharFormat()
    font = look.fixed_font(CODE_SCALE)
    face.setFontFamilies([font.family()])
    face.setFontPointSize(font.pointSizeF())
    for first, last in _fixed_spans(document):
        cursor = QTextCursor(document)
        cursor.setPosition(first)
        cursor.setPosition(last, QTextCursor.MoveMode.KeepAnchor)
        cursor.mergeCharFormat(face)


def _fixed_spans(document: QTextDocument) -> list[tuple[int, int]]:
    """Where text of a fixed width stands; lines of code that follow one another are one span."""
    spans: list[tuple[int, int]] = []
    block = document.begin()
    while block.isValid():
        pieces = block.begin()
        while not pieces.atEnd():
            piece = pieces.fragment()
            if _is_code(block) or piece.charFormat().fontFixedPitch():
                first, last = piece.position(), piece.position() + piece.length()
                if spans and spans[-1][1] + 1 >= first and _is_code(block):
                    first = spans.pop()[0]
                spans.append((first, last))
            pieces += 1
        block = block.next()
    return spans


def _dress_table(table: QTextTable, look: Look) -> None:
    shape = table.format()
    shape.setCellSpacing(0)
    shape.setCellPadding(PAD / 2)
    shape.setBorder(1)
    shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
    shape.setBorderCollapse(True)
    shape.setBorderBrush(QBrush(look.colour("border")))
    shape.setTopMargin(ROOM)
    shape.setBottomMargin(ROOM)
    shape.setColumnWidthConstraints([QTextLength()] * table.columns())
    table.setFormat(shape)
    for row in range(table.rows()):
        for column in range(table.columns()):
            cell = table.cellAt(row, column)
            look_of_cell = QTextTableCellFormat(cell.format().toTableCellFormat())
            look_of_cell.setLeftPadding(PAD)
            look_of_cell.setRightPadding(PAD)
            if row == 0:
                look_of_cell.setBackground(QBrush(look.colour("surface")))
            cell.setFormat(look_of_cell)
