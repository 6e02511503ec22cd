/* The equipment page: model, line, test, commands. What it knows of models comes with the page, in EVchargerPage. */
(function() {
  "use strict"

  const BAUDRATES = [1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 56000, 57600, 115200]
  const CONFIDENCE = {
    high: '{{Confiance élevée : sources sûres et concordantes}}',
    medium: '{{Confiance moyenne : sources incomplètes ou peu nombreuses}}',
    low: '{{Confiance faible : peu de sources, à essayer avec prudence}}'
  }
  let models = new Map(EVchargerPage.models.map(_model => [_model.id, _model]))
  const modelSelect = document.getElementById('sel_EVchargerModel')
  const portSelect = document.getElementById('sel_EVchargerPort')
  const portInput = document.getElementById('in_EVchargerPort')
  const baudrateSelect = document.getElementById('sel_EVchargerBaudrate')

  /** An element with text, which is never taken for HTML, and children. */
  function element(_tag, _attributes = {}, ..._children) {
    const made = document.createElement(_tag)
    for (const [name, value] of Object.entries(_attributes)) made.setAttribute(name, value)
    made.append(..._children)
    return made
  }

  function option(_value, _text) {
    return element('option', { value: _value }, _text)
  }

  function field(_key) {
    return document.querySelector('#eqlogictab .eqLogicAttr[data-l1key="configuration"][data-l2key="' + _key + '"]')
  }

  /** Asks the plugin's PHP. Without `_failure`, what went wrong is shown at the top of the page. */
  function ask(_action, _data, _success, _failure = _text => jeedomUtils.showAlert({ message: _text, level: 'danger' })) {
    domUtils.ajax({
      type: 'POST',
      url: 'plugins/EVcharger/core/ajax/EVcharger.ajax.php',
      data: { action: _action, ..._data },
      dataType: 'json',
      global: false,
      error: () => _failure('{{Jeedom n’a pas répondu}}'),
      success: _answer => _answer.state == 'ok' ? _success(_answer.result) : _failure(_answer.result)
    })
  }

  /** Gives the user a file with this text. */
  function download(_name, _text) {
    const url = URL.createObjectURL(new Blob([_text], { type: 'application/json' }))
    element('a', { href: url, download: _name }).click()
    URL.revokeObjectURL(url)
  }

  /** Hears events of this name as long as the box is in the page: by jQuery where it is there, as the core sends them. */
  function listen(_name, _box, _function) {
    const heard = function(_event, _option) {
      if (_box.isConnected) return _function(_option ?? _event.detail)
      if (typeof jQuery == 'function') jQuery('body').off(_name, heard)
      document.body.removeEventListener(_name, heard)
    }
    if (typeof jQuery == 'function') jQuery('body').on(_name, heard)
    else document.body.addEventListener(_name, heard)
  }

  /** What the modals share, and what the one that opens is told. */
  function openModal(_name, _title, _told = {}) {
    Object.assign(EVchargerPage, { element, option, ask, download, listen, told: _told })
    jeeDialog.dialog({
      id: 'jee_EVcharger',
      height: '80vh',
      top: '8vh',
      title: _title,
      contentUrl: 'index.php?v=d&plugin=EVcharger&modal=' + _name
    })
  }

  /** Profiles have come or gone: the models that can be chosen from now on. */
  EVchargerPage.setModels = function(_models) {
    models = new Map(_models.map(_model => [_model.id, _model]))
    fillModels()
    showModel()
  }

  // The model

  function fillModels() {
    const chosen = modelSelect.value
    const words = jeedomUtils.normTextLower(document.getElementById('in_EVchargerSearch').value).split(/\s+/)
    modelSelect.replaceChildren(option('', '{{Choisir…}}'))
    let group = null
    for (const model of models.values()) {
      const names = jeedomUtils.normTextLower([model.brand, model.model, ...model.rebrands].join(' '))
      if (model.id != chosen && !words.every(_word => names.includes(_word))) continue
      if (group?.label != model.brand) group = modelSelect.appendChild(element('optgroup', { label: model.brand }))
      group.append(option(model.id, model.model))
    }
    modelSelect.value = chosen
  }

  function showModel() {
    const model = models.get(modelSelect.value)
    const box = document.getElementById('div_EVchargerModel')
    box.replaceChildren()
    const unverified = model?.unverified ?? []
    document.getElementById('div_EVchargerUnverified').style.display = unverified.length ? '' : 'none'
    document.getElementById('span_EVchargerUnverified').textContent = unverified.join(', ')
    fillBaudrates(model)
    const overTcp = model?.line.framing == 'tcp'
    document.querySelectorAll('#eqlogictab .EVchargerSerial').forEach(_row => _row.style.display = overTcp ? 'none' : '')
    portInput.placeholder = overTcp ? 'tcp://192.168.1.50:502' : 'socket://192.168.1.50:4196'
    if (!model) {
      if (modelSelect.value == '') box.append(element('p', {}, '{{Choisissez un modèle : ce qu’il faut savoir de son câblage et de ses réglages s’affiche ici.}}'))
      if (modelSelect.value != '') box.append(element('div', { class: 'alert alert-danger' }, '{{Le profil de ce modèle est introuvable ou illisible :}} ' + modelSelect.value))
      return
    }
    box.append(element('img', { class: 'EVchargerPicture', src: model.picture, alt: '' }))
    box.append(element('h4', {}, model.brand + ' ' + model.model))
    if (model.rebrands.length) box.append(element('p', {}, '{{Aussi vendu comme :}} ' + model.rebrands.join(', ')))
    box.append(element('ul', {}, ...model.notes.map(_note => element('li', {}, _note))))
    if (model.line.verified === false) {
      box.append(element('p', {}, element('i', { class: 'fas fa-exclamation-triangle warning' }), ' {{Les réglages de liaison proposés sont une supposition : comparez avec ceux du chargeur.}}'))
    }
    box.append(element('p', { class: 'EVchargerSources' }, CONFIDENCE[model.confidence] + '. {{Rien n’a été essayé sur matériel par les auteurs du plugin. Sources :}} ' + model.sources.join(' ; ')))
  }

  function fillBaudrates(_model) {
    const chosen = baudrateSelect.value
    const offered = new Set(_model?.line.baudrates ?? BAUDRATES)
    if (chosen) offered.add(Number(chosen))
    baudrateSelect.replaceChildren(...[...offered].sort((a, b) => a - b).map(_rate => option(_rate, _rate)))
    baudrateSelect.value = chosen
  }

  /** A newly chosen model brings its line settings; those that are empty always come from it. */
  function presetLine(_onlyEmpty) {
    const line = models.get(modelSelect.value)?.line
    if (!line) return
    for (const key of ['unit', 'baudrate', 'parity', 'stopbits']) {
      if (_onlyEmpty && field(key).value != '') continue
      if (key == 'baudrate') baudrateSelect.append(option(line.baudrate, line.baudrate))
      field(key).value = line[key]
    }
  }

  // The port: one of the list, or typed

  function fillPorts() {
    const ports = Object.entries(EVchargerPage.ports).map(([_path, _label]) => option(_path, _label))
    portSelect.replaceChildren(...ports, option('', '{{Autre : chemin ou adresse réseau}}'))
  }

  function showPort() {
    portSelect.value = portInput.value in EVchargerPage.ports ? portInput.value : ''
    portInput.style.display = portSelect.value == '' ? '' : 'none'
  }

  // The test and the other tools

  /** The settings of this page, saved or not. */
  function settings() {
    const given = { unverified: field('unverified').checked }
    for (const key of ['model', 'port', 'unit', 'baudrate', 'parity', 'stopbits']) {
      if (field(key).value != '') given[key] = field(key).value
    }
    return given
  }

  function test() {
    const box = document.getElementById('div_EVchargerTest')
    box.replaceChildren(element('div', { class: 'alert alert-info' }, element('i', { class: 'fas fa-spinner fa-spin' }), ' {{Lecture en cours…}}'))
    ask('read', { settings: JSON.stringify(settings()) }, function(_values) {
      const rows = _values.map(_row => element('tr', { 'data-logicalid': _row.logicalId }, element('td', {}, _row.name), element('td', {}, (_row.value + ' ' + _row.unit).trim())))
      box.replaceChildren(
        element('div', { class: 'alert alert-success' }, '{{Le chargeur a répondu.}}'),
        element('table', { class: 'table table-condensed' }, element('tbody', {}, ...rows)))
    }, _text => box.replaceChildren(element('div', { class: 'alert alert-danger' }, _text)))
  }

  /** What a scan has found, put into this page; the user looks at it and saves. */
  function use(_settings) {
    for (const [key, value] of Object.entries(_settings)) {
      if (key == 'baudrate') baudrateSelect.append(option(value, value))
      field(key).value = value
    }
    showPort()
    showModel()
    setModified()
  }

  function setModified() {
    jeeFrontEnd.modifyWithoutSave = true
    window.modifyWithoutSave = true
  }

  // What the core's plugin.template.js calls

  window.printEqLogic = function(_eqLogic) {
    const configuration = _eqLogic.configuration
    document.getElementById('in_EVchargerSearch').value = ''
    document.getElementById('div_EVchargerTest').replaceChildren()
    fillModels()
    if (configuration.model && !models.has(configuration.model)) modelSelect.append(option(configuration.model, configuration.model))
    modelSelect.value = configuration.model ?? ''
    baudrateSelect.append(option(configuration.baudrate ?? '', configuration.baudrate ?? ''))
    baudrateSelect.value = configuration.baudrate ?? ''
    presetLine(true)
    if (!configuration.port) portInput.value = Object.keys(EVchargerPage.ports)[0] ?? ''
    showPort()
    showModel()
  }

  window.addCmdToTable = function(_cmd) {
    const retired = Boolean(_cmd.configuration?.retired)
    const numeric = _cmd.subType == 'numeric' || _cmd.subType == 'slider'
    const row = element('tr', { class: 'cmd' + (retired ? ' EVchargerRetired' : ''), 'data-cmd_id': init(_cmd.id) })
    let html = '<td class="hidden-xs"><span class="cmdAttr" data-l1key="id"></span></td>'
    html += '<td><div class="input-group">'
    html += '<input class="cmdAttr form-control input-sm roundedLeft" data-l1key="name" placeholder="{{Nom de la commande}}">'
    html += '<span class="input-group-btn"><a class="cmdAction btn btn-sm btn-default" data-l1key="chooseIcon" title="{{Choisir une icône}}"><i class="fas fa-icons"></i></a></span>'
    html += '<span class="cmdAttr input-group-addon roundedRight" data-l1key="display" data-l2key="icon" style="font-size:19px;padding:0 5px 0 0!important"></span>'
    html += '</div></td>'
    html += '<td><span class="EVchargerType"></span><br><span class="EVchargerLogicalId"></span></td>'
    html += '<td>'
    html += '<label class="checkbox-inline"><input type="checkbox" class="cmdAttr" data-l1key="isVisible"' + (retired ? ' disabled' : '') + '>{{Afficher}}</label> '
    if (_cmd.type == 'info') html += '<label class="checkbox-inline"><input type="checkbox" class="cmdAttr" data-l1key="isHistorized">{{Historiser}}</label> '
    if (_cmd.subType == 'binary') html += '<label class="checkbox-inline"><input type="checkbox" class="cmdAttr" data-l1key="display" data-l2key="invertBinary">{{Inverser}}</label> '
    if (numeric) {
      html += '<div style="display:flex;gap:3px;margin-top:4px">'
      html += '<input class="cmdAttr form-control input-sm" data-l1key="configuration" data-l2key="minValue" placeholder="{{Min}}" title="{{Min}}">'
      html += '<input class="cmdAttr form-control input-sm" data-l1key="configuration" data-l2key="maxValue" placeholder="{{Max}}" title="{{Max}}">'
      html += '<input class="cmdAttr form-control input-sm" data-l1key="unite" placeholder="{{Unité}}" title="{{Unité}}">'
      html += '</div>'
    }
    html += '</td>'
    html += '<td>' + (retired ? '<span class="label label-warning" title="{{Gardée pour son historique ou parce qu’elle est utilisée ailleurs dans Jeedom. Vous pouvez la supprimer.}}">{{Absente de ce modèle}}</span>' : '<span class="EVchargerState"></span>') + '</td>'
    html += '<td>'
    html += '<a class="btn btn-default btn-xs cmdAction" data-action="configure" title="{{Configuration avancée}}"><i class="fas fa-cogs"></i></a> '
    if (!retired) html += '<a class="btn btn-default btn-xs cmdAction" data-action="test"><i class="fas fa-rss"></i> {{Tester}}</a> '
    if (retired) html += '<i class="fas fa-minus-circle pull-right cmdAction cursor" data-action="remove" title="{{Supprimer la commande}}"></i>'
    html += '</td>'
    row.innerHTML = html
    row.querySelector('.EVchargerType').textContent = _cmd.type + ' / ' + _cmd.subType
    row.querySelector('.EVchargerLogicalId').textContent = init(_cmd.logicalId)
    document.querySelector('#table_cmd tbody').append(row)
    row.setJeeValues(_cmd, '.cmdAttr')
    if (_cmd.type == 'info' && !retired) showState(row.querySelector('.EVchargerState'), _cmd)
  }

  /** In the command's own unit. Not the core's own state cell: that one shows 11020 kW for 11020 W, once the value is pushed. */
  function showState(_cell, _cmd) {
    _cell.textContent = (init(_cmd.state) + ' ' + init(_cmd.unite)).trim()
    // The core keeps one function of each source text: it must find the cell of the day by itself.
    jeedom.cmd.addUpdateFunction(_cmd.id, function(_options) {
      const cell = document.querySelector('#table_cmd tr[data-cmd_id="' + _options.cmd_id + '"] .EVchargerState')
      if (cell) cell.textContent = (_options.value + ' ' + (_options.raw_unit ?? _options.unit)).trim()
    })
  }

  // Events

  document.getElementById('in_EVchargerSearch').addEventListener('input', fillModels)
  modelSelect.addEventListener('change', function() {
    presetLine(false)
    showModel()
  })
  portSelect.addEventListener('change', function() {
    portInput.value = portSelect.value
    portInput.style.display = portSelect.value == '' ? '' : 'none'
    setModified()
  })
  document.getElementById('bt_EVchargerTest').addEventListener('click', test)
  document.getElementById('bt_EVchargerHealth').addEventListener('click', () => openModal('health', '{{Santé des chargeurs}}'))
  document.getElementById('bt_EVchargerProfiles').addEventListener('click', () => openModal('profiles', '{{Mes profils}}'))
  document.getElementById('bt_EVchargerScan').addEventListener('click', () => openModal('scan', '{{Détecter les chargeurs}}'))
  document.getElementById('bt_EVchargerScanPort').addEventListener('click', () => openModal('scan', '{{Détecter les chargeurs}}', { port: portInput.value, use }))
  document.getElementById('bt_EVchargerRegisters').addEventListener('click', () => openModal('registers', '{{Registres}}', { settings: settings() }))
  document.getElementById('bt_EVchargerCapture').addEventListener('click', function() {
    openModal('capture', '{{Capture}}', { id: document.querySelector('#eqlogictab .eqLogicAttr[data-l1key="id"]').value })
  })

  fillModels()
  fillPorts()
  fillBaudrates()
})()
